import type { WorkloadCounts } from '../../vm/emulated/guest-actions.js';
import { entryCount } from '../../hpt/geometry.js';
import type { SendReport } from '../../migration/source/send-report.js';
import { formatCount, formatDuration } from '../report/format.js';
import { passTable } from '../report/pass-table.js';
import type { Verdict } from './verdict.js';

/** What the demo has come to; with `--json`, this is what it prints, `passes` as `reportFields` has them. */
export interface DemoOutcome extends Omit<SendReport, 'digest'>, Verdict {
  /** Version of this document: another one once a field goes or means something else. */
  readonly format: 2;
  readonly seed: number;
  /** Of the table that was moved. */
  readonly digest: string;
  /** Steps per second the guest was to take. */
  readonly rate: number;
  readonly totalMs: number;
  /** What the guest did meanwhile. */
  readonly guest: WorkloadCounts;
}

/** The outcome for a person to read. */
export function describeOutcome(outcome: DemoOutcome): string {
  const { order, passes, guest } = outcome;
  return `
Moved the page table of a Linux guest: order ${order}, ${formatCount(entryCount(order))} entries, ${formatCount(outcome.validEntries)} of them valid.
Meanwhile the guest took ${formatCount(guest.steps)} steps: ${formatCount(guest.faults)} pages faulted in, ${formatCount(guest.evictions)} evicted, \
${formatCount(guest.protections)} protected, ${formatCount(guest.loads)} loads, ${formatCount(guest.stores)} stores.

${passTable(passes, outcome.totalMs)}

guest stopped for   ${formatDuration(outcome.stopMs ?? 0)}, of which ${formatDuration(comparingMs(outcome))} comparing the two tables
source digest       ${outcome.sourceDigest}
destination digest  ${outcome.destinationDigest}
${verdictLine(outcome)}
`;
}

/** What of the stop is not passes: both sides compare the digests of what was sent, and with equal ones the source commits. */
function comparingMs({ stopMs = 0, passes }: DemoOutcome): number {
  return passes.reduce((ms, { live, durationMs }) => (live ? ms : ms - durationMs), stopMs);
}

function verdictLine({ verified, differences: { count, ptexes }, validEntries }: DemoOutcome): string {
  if (verified) return `verified: all ${formatCount(validEntries)} entries are the same in both tables`;
  return `NOT VERIFIED: ${formatCount(count)} entries differ, the first of them ${ptexes.join(', ')}`;
}
