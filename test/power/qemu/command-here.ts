import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { Writable } from 'node:stream';
import { run } from '../../../lib/cli/program.js';
import type { CommandEvent } from '../command.js';

/** A `kvm-htab` command in this process: another start of Node takes seconds. */
export class CommandHere {
  readonly events: CommandEvent[] = [];
  /** Its exit code, once it has ended. */
  readonly ended: Promise<number>;
  readonly #changes = new EventEmitter();
  readonly #args: readonly string[];
  #said = '';

  /** @param args its command line, with --json where events are waited for */
  constructor(args: readonly string[]) {
    this.#args = args;
    const stdout = lines((line) => {
      this.#said += `${line}\n`;
      if (line.startsWith('{"')) this.events.push(JSON.parse(line) as CommandEvent);
      this.#changes.emit('change');
    });
    const stderr = lines((line) => (this.#said += `${line}\n`));
    this.ended = run(args, { stdout, stderr }).finally(() => this.#changes.emit('change'));
  }

  /** All that it has printed. */
  get said(): string {
    return this.#said;
  }

  /** Waits for an event of that name. */
  async told(event: string): Promise<CommandEvent> {
    for (;;) {
      const found = this.events.find((each) => each['event'] === event);
      if (found !== undefined) return found;
      const end = await Promise.race([once(this.#changes, 'change').then(() => undefined), this.ended]);
      const seen = this.events.some((each) => each['event'] === event);
      if (end !== undefined && !seen) throw this.#failure(`never told ${event}, ended with ${end}`);
    }
  }

  /** Waits for its end. @throws Error, with all it has said, if that is another one */
  async mustEnd(wanted: number): Promise<void> {
    const end = await this.ended;
    if (end !== wanted) throw this.#failure(`ended with ${end}, not ${wanted}`);
  }

  #failure(what: string): Error {
    return new assert.AssertionError({ message: `${this.#args.join(' ')} ${what}\n${this.#said}` });
  }
}

function lines(take: (line: string) => void): Writable {
  let rest = '';
  return new Writable({
    decodeStrings: false,
    write(text: string | Buffer, _encoding, done) {
      const parts = (rest + String(text)).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) take(line);
      done();
    },
  });
}
