import { receiveHpt, type ReceiveOptions } from '../../../lib/migration/destination/receive.js';
import { sendHpt, type SendOptions } from '../../../lib/migration/source/send.js';
import type { SourceTable } from '../../../lib/migration/tables.js';
import type { HtabVm } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { TestGuest } from './test-guest.js';
import { settleInFakeTime } from './test-guest.js';
import { Network, type Wires } from './network.js';

export const power8 = (): EmulatedVm => new EmulatedVm({ host: 'power8' });

/** Moves a guest over a network, until both sides are done. */
export async function moveGuest(
  guest: TestGuest,
  {
    source = guest.vm,
    target = power8(),
    wires,
    send = {},
    receive = {},
    steps = 20,
    begun = () => undefined,
  }: {
    source?: HtabVm | SourceTable;
    target?: EmulatedVm;
    wires?: (connection: number) => Wires;
    send?: Partial<SendOptions>;
    receive?: ReceiveOptions;
    steps?: number;
    begun?: (network: Network) => void;
  } = {},
) {
  const network = new Network(wires);
  begun(network);
  const sending = sendHpt(source, network.connect, guest.options(send, steps));
  const receiving = receiveHpt(target, network, receive);
  const [[sent, received]] = await settleInFakeTime(
    Promise.all([
      Promise.allSettled([sending, receiving]),
      sending.then(
        () => undefined,
        () => {
          network.close();
        },
      ),
    ]),
  );
  return { sent, received, target, network } as const;
}

export function valueOf<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason as Error;
  return result.value;
}
