import type { ReceiveOptions } from '../../lib/migration/destination/receive.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt, type SendOptions } from '../../lib/migration/source/send.js';
import type { Hello, Message, MessageType } from '../../lib/migration/wire/messages.js';
import { hello } from '../../lib/migration/wire/protocol.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { frameWire, type FrameFault } from '../migration/harness/faulty-wire.js';
import { power8 } from '../migration/harness/move-guest.js';
import { Network, type Wires } from '../migration/harness/network.js';
import { settleInFakeTime, startGuest, type Ended, type TestGuest } from '../migration/harness/test-guest.js';

/** How both sides end; a receiver that waits on for its source, or takes no part, has no end. */
export type Ends = Partial<Ended>;

/** What is other than in a migration that succeeds. */
export interface Difference {
  readonly send?: Partial<SendOptions>;
  readonly receive?: ReceiveOptions;
  /** What the source reads, instead of the guest's VM. */
  readonly source?: (guest: TestGuest) => HtabVm;
  readonly target?: HtabVm;
  readonly wires?: (connection: number) => Wires;
  /** False: no receiver waits. */
  readonly receives?: boolean;
  /** Called before the source connects. */
  readonly prepare?: (guest: TestGuest, network: Network) => void | Promise<void>;
}

export const MIGRATION_ID = 'm-1';

const TIMES = { timeoutMs: 3000, reconnectMs: 10_000 } as const;
const HELLO: Hello = hello({
  ...{ migrationId: MIGRATION_ID, attempt: 1, order: 18, headerByteOrder: 'LE' },
  ...{ backend: 'emulated', host: 'power8' },
});

/** Moves a guest in fake time, until both sides are done. */
export async function move(difference: Difference): Promise<Ends> {
  const { send, receive, source, target = power8(), wires, receives = true, prepare } = difference;
  const guest = await startGuest(200);
  const network = new Network(wires);
  await prepare?.(guest, network);
  const receiving = receives ? receiveHpt(target, network, { ...TIMES, ...receive }) : undefined;
  const options = guest.options({ migrationId: MIGRATION_ID, ...TIMES, ...send }, 5);
  const sending = sendHpt(source?.(guest) ?? guest.vm, network.connect, options);
  const ending = Promise.allSettled([receiving]);
  const [sent] = await settleInFakeTime(Promise.allSettled([sending]));
  const waited = new Promise<[undefined]>((resolve) => setTimeout(resolve, 30_000, [undefined]));
  const [received] = await settleInFakeTime(Promise.race([ending, waited]));
  network.close();
  await settleInFakeTime(ending);
  return { sent, ...(receives && received && { received: received as Ended['received'] }) };
}

/** A fault of one message, on each of the first connections. */
export function faultyMessage(
  from: keyof Wires,
  due: MessageType,
  fault: FrameFault | Message,
  connections = Infinity,
): Pick<Difference, 'wires'> {
  return {
    wires: (number) => (number > connections ? {} : { [from]: frameWire((type) => type === due, fault) }),
  };
}

/** The source introduces itself in another way. */
export function introducedAs(members: Partial<Hello>): Pick<Difference, 'wires'> {
  return faultyMessage('fromSource', 'hello', { ...HELLO, ...members });
}
