import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** A client of the control socket of test/power/vmm: a request is a line, and so is its answer. */
export class ControlClient implements Disposable {
  readonly socketPath: string;
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<string>;

  private constructor(socketPath: string, socket: Socket) {
    this.socketPath = socketPath;
    this.#socket = socket;
    this.#answers = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async open(socketPath: string): Promise<ControlClient> {
    const socket = connect(socketPath);
    await once(socket, 'connect');
    return new ControlClient(socketPath, socket);
  }

  /** @returns the line it answers; requests are answered in order */
  async ask(request: string): Promise<string> {
    this.#socket.write(`${request}\n`);
    const answer = await this.#answers.next();
    if (answer.done === true) throw new Error(`the VMM is gone; asked: ${request.slice(0, 80)}`);
    return answer.value;
  }

  /** Asks for something that must go well. @returns the words of the answer after `ok` */
  async words(request: string): Promise<string[]> {
    const answer = await this.ask(request);
    const [verdict, ...words] = answer.split(' ');
    if (verdict !== 'ok') throw new Error(`${request.slice(0, 80)}: ${answer}`);
    return words;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
