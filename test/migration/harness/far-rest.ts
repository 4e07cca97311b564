import { sleep } from '../../../lib/base/time.js';
import type { DestinationRest, SourceRest } from '../../../lib/migration/rest.js';
import type { PassReport } from '../../../lib/precopy/pass-report.js';
import { channels, type PassEvent } from '../../../lib/migration/events.js';
import type { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { moveGuest } from './move-guest.js';

/** The smallest buffer that only a migration's own reader has; a look has less. */
const READER_BYTES = 4096;

/** The rest of a guest at its source, which is far until a test says otherwise. */
export class FarRest implements SourceRest {
  /** What it would need of the stop. */
  ms = Infinity;
  /** How often it was asked, and how often since the last pass. */
  asked = 0;
  askedSincePass = 0;
  /** The source's passes. */
  readonly passes: PassReport[] = [];
  readonly #onAsk: (rest: FarRest) => Promise<void> | void;

  /** @param onAsk called each time it is asked, before it answers */
  constructor(onAsk: (rest: FarRest) => Promise<void> | void = () => undefined) {
    this.#onAsk = onAsk;
  }

  readonly stopMs = async (): Promise<number> => {
    this.asked++;
    this.askedSincePass++;
    await this.#onAsk(this);
    return this.ms;
  };

  readonly finish = (): Promise<undefined> => Promise.resolve(undefined);

  /** Follows the passes, until the function that it gives is called. */
  watch(): () => void {
    const listener = (pass: PassEvent): void => {
      if (pass.side !== 'source') return;
      this.passes.push(pass);
      this.askedSincePass = 0;
    };
    channels.pass.subscribe(listener);
    return () => {
      channels.pass.unsubscribe(listener);
    };
  }
}

/** The other half of a {@link FarRest}: nothing comes of it. */
export const EMPTY_REST: DestinationRest = {
  accept: () => Promise.resolve(),
  discard: () => Promise.resolve(),
  run: () => Promise.resolve(),
};

/** Gives each read of a migration's reader a duration, so that passes are long, and the waits between them. */
export function slowReads(vm: EmulatedVm, ms: number): void {
  const open = vm.openHtab.bind(vm);
  vm.openHtab = async (options) => {
    const handle = await open(options);
    const read = handle.read.bind(handle);
    handle.read = async (buffer) => {
      if (buffer.length >= READER_BYTES) await sleep(ms);
      return read(buffer);
    };
    return handle;
  };
}

/** Moves a guest to a host that takes its rest too. */
export function moveToEmptyRest(
  guest: Parameters<typeof moveGuest>[0],
  options: Parameters<typeof moveGuest>[1],
): ReturnType<typeof moveGuest> {
  return moveGuest(guest, { ...options, receive: { rest: EMPTY_REST, ...options?.receive } });
}
