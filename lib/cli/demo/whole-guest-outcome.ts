import type { SendReport } from '../../migration/source/send-report.js';
import type { MemoryProgress } from '../../testing/agent/rounds.js';
import type { WorkloadCounts } from '../../vm/emulated/guest-actions.js';
import { formatBytes, formatCount, formatDuration, formatTable } from '../report/format.js';
import { passTable } from '../report/pass-table.js';
import type { UnmovedVerdict } from './unmoved.js';

/** What `demo --whole-guest` has come to; with `--json`, this is what it prints, `passes` as `reportFields` has them. */
export interface WholeGuestOutcome extends Omit<SendReport, 'digest'>, UnmovedVerdict {
  readonly format: 2;
  readonly seed: number;
  readonly rate: number;
  /** Of what was sent of the table. */
  readonly digest: string;
  readonly totalMs: number;
  /** What the guest has done, at both machines. */
  readonly guest: WorkloadCounts;
  readonly memory: {
    readonly bytes: number;
    readonly pageBytes: number;
    /** Those that had pages, and the last one. */
    readonly rounds: readonly MemoryProgress[];
  };
}

/** The outcome for a person to read. */
export function describeWholeGuest(outcome: WholeGuestOutcome): string {
  const { memory, passes, totalMs, stopMs = 0, steps } = outcome;
  return `
Moved a Linux guest: ${formatBytes(memory.bytes)} of memory, its table of order ${outcome.order} with ${formatCount(outcome.validEntries)} valid entries, and its registers.

${roundTable(memory.rounds)}

${passTable(passes, totalMs)}

guest stopped for   ${formatDuration(stopMs)}
checksum            ${outcome.checksum}, of all that the guest has loaded in ${formatCount(steps)} steps
unmoved             ${outcome.unmovedChecksum}, of the same guest on one machine
${verdictLine(outcome)}
`;
}

function roundTable(rounds: readonly MemoryProgress[]): string {
  return formatTable([
    ['round', 'pages', 'all zeros', 'bytes', 'time'],
    ...rounds.map(({ round, live, pages, zeroPages, bytes, durationMs }) => [
      `${round}${live ? '' : ' (guest stopped)'}`,
      formatCount(pages),
      formatCount(zeroPages),
      formatBytes(bytes),
      formatDuration(durationMs),
    ]),
  ]);
}

function verdictLine({ verified, differences, differentBlocks }: WholeGuestOutcome): string {
  if (verified) return 'verified: checksum, table and memory are those of the guest that was not moved';
  return `NOT VERIFIED: ${formatCount(differences.count)} entries and ${formatCount(differentBlocks)} blocks of memory differ from the guest that was not moved`;
}
