import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/** A way to a listener over TCP, which can be cut: once so many bytes have passed, either way, or at any other moment. */
export class CutLine implements Disposable {
  /** Bytes that have passed. */
  bytes = 0;
  wasCut = false;
  readonly #server;
  readonly #sockets = new Set<Socket>();
  readonly #cutAt: number;

  private constructor(target: string, cutAt: number, forGood: boolean) {
    const port = Number(new URL(target).port);
    this.#cutAt = cutAt;
    this.#server = createServer({ allowHalfOpen: true }, (from) => {
      const to = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      this.#carry(from, to);
      this.#carry(to, from);
      if (this.wasCut && forGood) this.cut();
    });
  }

  /**
   * @param target where it leads: the address of a listener of this machine
   * @param forGood no connection passes after the cut
   */
  static async to(target: string, cutAt = Infinity, forGood = false): Promise<CutLine> {
    const line = new CutLine(target, cutAt, forGood);
    line.#server.listen(0, '127.0.0.1');
    await once(line.#server, 'listening');
    return line;
  }

  get address(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.wasCut = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.cut();
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay();
    from.on('error', () => undefined);
    from.on('close', () => to.destroy());
    from.on('end', () => to.end());
    from.on('data', (chunk: Buffer) => {
      const length = this.wasCut ? chunk.length : Math.min(chunk.length, this.#cutAt - this.bytes);
      this.bytes += length;
      if (to.writable && !to.write(chunk.subarray(0, length))) {
        from.pause();
        to.once('drain', () => from.resume());
      }
      if (this.wasCut || this.bytes < this.#cutAt) return;
      this.wasCut = true;
      // What has passed arrives first.
      setImmediate(() => {
        this.cut();
      });
    });
  }
}
