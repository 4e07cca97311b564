import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const PROGRAM = 'qemu-system-ppc64';
/** Firmware alone makes a guest: nothing has to be downloaded or booted. */
const MACHINE = ['-M', 'pseries', '-accel', 'tcg', '-m', '256M', '-nodefaults', '-display', 'none'];

/** Why there is no QEMU to test with; undefined if there is one. */
export const missing =
  spawnSync(PROGRAM, ['--version']).error === undefined ? undefined : `${PROGRAM} is not installed`;

/** A QEMU with a guest, and its monitor. */
export class RealQemu {
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #monitor: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, monitor: Socket) {
    this.#child = child;
    this.exited = once(child, 'exit');
    this.#monitor = monitor.on('error', () => undefined);
    this.#lines = createInterface({ input: monitor })[Symbol.asyncIterator]();
  }

  /** @param qmp where its monitor is to be */
  static async start(qmp: string, ...args: string[]): Promise<RealQemu> {
    const child = spawn(PROGRAM, [...MACHINE, '-qmp', `unix:${qmp},server=on,wait=off`, ...args], {
      stdio: 'ignore',
    });
    const qemu = new RealQemu(child, await connected(qmp, child));
    await qemu.#lines.next();
    await qemu.ask('qmp_capabilities');
    return qemu;
  }

  /** Executes a command of QMP, and gives what it returns; events in between are passed over. */
  async ask<Answer = unknown>(execute: string, args: object = {}): Promise<Answer> {
    this.#monitor.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const { value } = (await this.#lines.next()) as { value?: string };
      if (value === undefined) throw new Error(`QEMU ended before it answered ${execute}`);
      const answer = JSON.parse(value) as { return?: Answer; error?: unknown };
      if (answer.error !== undefined) throw new Error(`${execute}: ${JSON.stringify(answer.error)}`);
      if (answer.return !== undefined) return answer.return;
    }
  }

  async migrate(uri: string, returnPath = true): Promise<string> {
    const capabilities = [{ capability: 'return-path', state: returnPath }];
    await this.ask('migrate-set-capabilities', { capabilities });
    await this.ask('migrate', { uri });
    for (;;) {
      const { status = 'setup' } = await this.ask<{ status?: string }>('query-migrate');
      if (status === 'completed' || status === 'failed') return status;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async status(): Promise<string> {
    return (await this.ask<{ status: string }>('query-status')).status;
  }

  /** Waits until the guest is in this state. */
  async reached(wanted: string): Promise<void> {
    while ((await this.status()) !== wanted) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  kill(): void {
    this.#monitor.destroy();
    this.#child.kill('SIGKILL');
  }
}

/** QEMU makes the socket's file some time before it listens there. */
async function connected(path: string, qemu: ChildProcess): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const isEarly = code === 'ENOENT' || code === 'ECONNREFUSED';
      if (!isEarly || qemu.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
