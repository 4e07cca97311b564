// One side of migrations, in a process of its own: a script that says when it is ready, and answers each message with one.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/**
 * How an agent that makes many migrations is to be started (lib/migration/README.md): else V8 counts the tables and what
 * sockets read as a reason to collect garbage every 15 to 20 MB.
 */
const AGENT_OPTIONS = ['--initial-old-space-size=64'];

/** @template Answer */
export class SideProcess {
  #process;
  /** Rejects once it has ended. @type {Promise<never>} */
  #ended;

  /** @param {string} script in this folder @param {unknown} task its argument, as JSON */
  constructor(script, task) {
    this.#process = fork(path.join(import.meta.dirname, script), [JSON.stringify(task)], {
      execArgv: [...process.execArgv, ...AGENT_OPTIONS],
    });
    this.#ended = once(this.#process, 'exit').then(() => {
      throw new Error(`${script} has ended: ${JSON.stringify(task)}`);
    });
    this.#ended.catch(() => undefined);
  }

  async ready() {
    await this.#message();
  }

  /** @param {string} message @returns {Promise<Answer>} */
  async ask(message) {
    const answer = this.#message();
    this.#process.send(message);
    return /** @type {Answer} */ (await answer);
  }

  stop() {
    this.#process.kill();
  }

  /** @returns {Promise<unknown>} */
  async #message() {
    const message = /** @type {Promise<[unknown]>} */ (once(this.#process, 'message'));
    const [value] = await Promise.race([message, this.#ended]);
    return value;
  }
}
