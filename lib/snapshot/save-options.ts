import { checkFunction, checkObject } from '../base/arguments.js';
import { checkOptions, numbersOf, type NumbersOf, type OptionTable } from '../base/options.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { OpenFresh } from '../io/fresh-look.js';
import {
  GUEST_LIMITS,
  checkGuestCallbacks,
  type GuestCallbacks,
  type GuestLimits,
} from '../precopy/guest-options.js';
import type { PassProgress } from '../precopy/pass-progress.js';
import { MAX_COUNT } from '../precopy/policy.js';
import type { BackendName } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';

/** How a table is saved. */
export interface SaveOptions extends GuestLimits {
  /** log2 of the table's bytes, 18..36; needed where the source does not know it, as a descriptor never does. */
  readonly order?: number | undefined;
  /** Kind of VM that a given descriptor belongs to. Default `kvm`; a VM says so itself. */
  readonly backend?: BackendName | undefined;
  /**
   * Processor of the host, where neither the VM nor this machine tells: a POWER9 host cannot hold every entry of a POWER8
   * one. `power9` for later ones too.
   */
  readonly host?: HostModel | undefined;
  /**
   * Opens another descriptor of the same guest, to check at the end that its table still is the one that was saved.
   * Without it a guest that went to radix, was reset, or had its table resized looks like a quiet one, and entries that it
   * no longer has are saved (`sourceRechecked: false`).
   *
   * @param startIndex ptex at which its first pass should begin. A descriptor that begins at 0 serves as well, but then the
   *   whole table is read while the guest stands still
   */
  readonly reopen?: OpenFresh | undefined;
  /**
   * How to stop the guest, if it runs. Without it the guest must be stopped already, as with `alreadyPaused` of `sendHpt`, and
   * is neither paused nor resumed.
   */
  readonly guest?: Pick<GuestCallbacks, 'pause' | 'resume'> | undefined;
  /** Most passes while the guest runs, or until a stopped guest is known to be quiescent, 1..2^31 - 1; default 16. */
  readonly maxPasses?: number | undefined;
  /** The guest is paused after a pass that found no more entries changed than this, 0..2^32; default 256. */
  readonly maxChangedEntries?: number | undefined;
  /**
   * Keep the snapshot even if the table still changed during the last pass: a mixture of moments, to look at and not to
   * load (see `quiescent`). Default false.
   */
  readonly allowChanging?: boolean | undefined;
  /** Ends it with its reason: no file is left, and the guest is resumed if it was paused. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every frame of records and at the end of every pass. */
  readonly onProgress?: ((progress: PassProgress) => void) | undefined;
}

export const SAVE_OPTIONS = {
  order: {
    min: MIN_ORDER,
    max: MAX_STREAM_ORDER,
    unit: 'log2 of bytes',
    doc: "log2 of the table's bytes; needed for a descriptor, which does not tell",
  },
  backend: {
    choices: ['kvm', 'emulated', 'image'],
    default: 'kvm',
    doc: 'kind of VM that a given descriptor belongs to',
  },
  host: {
    choices: ['power8', 'power9'],
    doc: 'processor of the host, where neither the VM nor the machine tells; power9 for later ones too',
  },
  reopen: { doc: 'opens another descriptor of the guest, to check that the table is still the one saved' },
  guest: { doc: 'how to stop a guest that runs; without it the guest must be stopped already' },
  ...GUEST_LIMITS,
  maxPasses: {
    min: 1,
    max: MAX_COUNT,
    default: 16,
    unit: 'passes',
    doc: 'most passes before the guest is stopped',
  },
  maxChangedEntries: {
    min: 0,
    max: 2 ** 32,
    default: 256,
    unit: 'entries',
    doc: 'most entries changed in the last pass before the guest is stopped',
  },
  allowChanging: {
    default: false,
    doc: 'keep the snapshot even if the table still changes: to look at, not to load',
  },
  signal: { doc: 'aborts it: no file is left, and a guest that was paused is resumed' },
  onProgress: { doc: 'called after every frame of records and at the end of every pass' },
} as const satisfies OptionTable<SaveOptions>;

export type PassLimits = NumbersOf<typeof SAVE_OPTIONS>;

/** @throws RangeError, TypeError for invalid options */
export function passLimits(options: SaveOptions): PassLimits {
  checkOptions(options, SAVE_OPTIONS);
  const { reopen, guest } = options;
  if (reopen !== undefined) checkFunction('reopen', reopen);
  if (guest !== undefined) {
    checkObject('guest', guest);
    checkGuestCallbacks(guest);
  }
  return numbersOf(SAVE_OPTIONS, options);
}
