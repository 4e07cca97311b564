import type { ReceiveOptions } from '../../../lib/migration/destination/receive.js';
import { type Journal } from '../../../lib/migration/journal/journal.js';
import type { SendOptions } from '../../../lib/migration/source/send.js';
import type { HtabVm } from '../../../lib/vm/contract.js';
import type { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { TestGuest } from './test-guest.js';
import type { Wires } from './network.js';
import type { TestRest } from './test-rest.js';

export interface TwoHostsOptions {
  readonly guest: TestGuest;
  readonly target?: EmulatedVm;
  readonly wires?: (connection: number) => Wires;
  /** What stands between the agents and their VMs. */
  readonly wrapSource?: (vm: EmulatedVm) => HtabVm;
  readonly wrapTarget?: (vm: EmulatedVm) => HtabVm;
  readonly sourceJournal?: Journal;
  readonly targetJournal?: Journal;
  readonly send?: Partial<SendOptions>;
  readonly receive?: ReceiveOptions;
  /** What the guest has beside its table. */
  readonly rest?: TestRest | undefined;
}
