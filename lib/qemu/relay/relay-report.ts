import { lazyDigest } from '../../hpt/digest.js';
import { checkEntries } from '../stream/check-entries.js';
import type { QemuFinding } from '../stream/findings.js';
import type { HtabCounts } from '../stream/htab-section.js';
import { HTAB_SECTION, type QemuRam } from '../stream/layout.js';
import type { ReturnPath } from './return-path.js';
import type { StopShare } from './stop-watch.js';
import type { StreamWatch } from './watch.js';

/** A migration that has been passed on. */
export interface RelayReport {
  /** Machine type, as `pseries-10.0`. */
  readonly machine: string;
  /** log2 of the table's bytes; undefined for a radix guest, which has none. */
  readonly order: number | undefined;
  /** Valid entries of the table at the end. */
  readonly validEntries: number;
  /** Records that made it up. */
  readonly records: HtabCounts;
  /** Parts in which QEMU sent them, the last of a guest that stood still. */
  readonly tableParts: number;
  /** `digestTable` of the table, as the destination has it; undefined for a radix guest. Computed by the first call. */
  digest(): string | undefined;
  /** What is odd about the stream, or the table, and does not keep a guest from running on it. */
  readonly findings: readonly QemuFinding[];
  readonly ram: QemuRam | undefined;
  /** Bytes from the source to the destination. */
  readonly streamBytes: number;
  /** Bytes from the destination to the source. */
  readonly returnBytes: number;
  /**
   * The destination has said that it has loaded the guest. False: it has taken all of the stream and has closed. The source
   * had opened no return path, on which it could have said whether it has loaded the guest.
   */
  readonly acknowledged: boolean;
  /** From the source's connection to the end of both, in ms. */
  readonly durationMs: number;
  /** What of the stop the relay saw; undefined if the stream had no part that is sent of a guest that stands still. */
  readonly stop: StopShare | undefined;
}

export function relayReport(watch: StreamWatch, returnPath: ReturnPath, durationMs: number): RelayReport {
  const { parser, stop } = watch;
  const { table, findings } = parser;
  if (table !== undefined) checkEntries(table, findings);
  return {
    machine: parser.configuration.machine,
    order: table?.order,
    validEntries: table?.validCount ?? 0,
    records: parser.htabCounts,
    tableParts: parser.sections.find(({ name }) => name === HTAB_SECTION)?.parts ?? 0,
    digest: table === undefined ? () => undefined : lazyDigest(table),
    findings: findings.list,
    ram: parser.ram,
    streamBytes: parser.receivedBytes,
    returnBytes: returnPath.bytes,
    acknowledged: returnPath.shut === 0,
    durationMs,
    stop,
  };
}
