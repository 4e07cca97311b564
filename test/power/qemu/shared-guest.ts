import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Qemu, type QemuSeries } from './qemu.js';

/** The kernel of the guest alone has thousands. */
export const MIN_ENTRIES = 1000;

/** The guest that all tests share: it takes most of a minute to boot. */
export class SharedGuest {
  readonly series: QemuSeries;
  /** For files; QEMU sees it under the same name. */
  readonly folder = mkdtempSync(join(tmpdir(), 'shared-'));
  #running: Promise<Qemu> | undefined;

  constructor(series: QemuSeries) {
    this.series = series;
  }

  /** The QEMU that runs it. */
  qemu(signal: AbortSignal): Promise<Qemu> {
    return (this.#running ??= Qemu.start(this.series, signal));
  }

  /** After a move. */
  async movedTo(destination: Qemu): Promise<void> {
    const source = await this.#running;
    this.#running = Promise.resolve(destination);
    await source?.[Symbol.asyncDispose]();
  }
}
