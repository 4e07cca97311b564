import { connect, type Socket } from 'node:net';
import { FakeQemu, type Answers, type Asked } from './fake-qemu.js';
import { htabOf, record, streamOf } from '../stream-writer.js';

/** What it sends: a table of two valid entries. */
export const STREAM = streamOf(htabOf(record(3, 2)));
export const STOP = { event: 'STOP', timestamp: { seconds: 10, microseconds: 0 } };
const RESUME = { event: 'RESUME', timestamp: { seconds: 10, microseconds: 62_500 } };
/** Its capabilities before the migration. */
export const OFF = {
  'return-path': false,
  'x-ignore-shared': false,
  multifd: true,
  events: true,
  'postcopy-ram': true,
};

/** A QEMU that can migrate, and keeps its settings. */
export class MigratingQemu {
  capabilities: Readonly<Record<string, boolean>> = OFF;
  parameters: Readonly<Record<string, unknown>> = { 'max-bandwidth': 7, 'tls-creds': 'tls0' };
  /** Those of both at the time of the migration. */
  during: unknown;
  heard = Buffer.alloc(0);
  qemu!: FakeQemu;

  /**
   * @param path of its monitor
   * @param send sends the stream; by default all of it, of a guest that stands still meanwhile
   */
  static async start(
    path: string,
    send?: (socket: Socket, qemu: FakeQemu) => void,
    answers: Answers = {},
  ): Promise<MigratingQemu> {
    const made = new MigratingQemu();
    const all = (socket: Socket, qemu: FakeQemu): void => {
      qemu.say(STOP);
      socket.write(STREAM);
    };
    made.qemu = await FakeQemu.start(path, { ...made.#answers(send ?? all), ...answers });
    return made;
  }

  #answers(send: (socket: Socket, qemu: FakeQemu) => void): Answers {
    return {
      'query-memdev': [{ size: 100, share: true }, { size: 20, share: false }, { size: 3 }],
      'query-migrate-capabilities': () =>
        Object.entries(this.capabilities).map(([capability, state]) => ({ capability, state })),
      'migrate-set-capabilities': ({ arguments: args }: Asked) => {
        const list = args['capabilities'] as { capability: string; state: boolean }[];
        const set = Object.fromEntries(list.map(({ capability, state }) => [capability, state]));
        this.capabilities = { ...this.capabilities, ...set };
      },
      'query-migrate-parameters': () => this.parameters,
      'migrate-set-parameters': ({ arguments: args }: Asked) => {
        this.parameters = { ...this.parameters, ...args };
      },
      migrate: ({ arguments: args }: Asked) => {
        this.#migrate(String(args['uri']).slice('unix:'.length), send);
      },
    };
  }

  #migrate(path: string, send: (socket: Socket, qemu: FakeQemu) => void): void {
    const { state } = this.qemu;
    this.during = [this.capabilities, this.parameters];
    state.migration = { status: 'active' };
    const socket = connect({ path }, () => {
      send(socket, this.qemu);
    });
    socket
      .on('error', () => undefined)
      .on('data', (chunk) => (this.heard = Buffer.concat([this.heard, chunk])));
    socket.on('close', () => {
      if (state.migration['status'] !== 'active') return;
      state.migration = { status: 'failed' };
      this.qemu.say(RESUME);
    });
  }
}
