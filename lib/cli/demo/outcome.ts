import type { PassReport } from '../../migration/policy.js';
import type { SendReport } from '../../migration/source.js';
import type { WorkloadCounts } from '../../testing/workload.js';
import { entryCount } from '../../hpt/geometry.js';
import { formatBytes, formatCount, formatDuration, formatTable } from '../format.js';
import type { Verdict } from './verdict.js';

/** What the demo has come to; with `--json`, this is what it prints. */
export interface Outcome extends SendReport, Verdict {
  readonly seed: number;
  /** Steps per second the guest was to take. */
  readonly rate: number;
  /** TCP port of the connection. */
  readonly port: number;
  readonly totalMs: number;
  /** What the guest did meanwhile. */
  readonly guest: WorkloadCounts;
}

/** The outcome for a person to read. */
export function describeOutcome(outcome: Outcome): string {
  const { order, passes, guest } = outcome;
  return `
Moved the page table of a Linux guest: order ${order}, ${formatCount(entryCount(order))} entries, ${formatCount(outcome.validEntries)} of them valid.
Meanwhile the guest took ${formatCount(guest.steps)} steps: ${formatCount(guest.faults)} pages faulted in, ${formatCount(guest.evictions)} evicted, \
${formatCount(guest.protections)} protected, ${formatCount(guest.loads)} loads, ${formatCount(guest.stores)} stores.

${formatTable([['pass', 'entries', 'bytes', 'time'], ...passes.map(passRow), totalRow(outcome)])}

guest stopped for   ${formatDuration(outcome.stopMs)}
source digest       ${outcome.sourceDigest}
destination digest  ${outcome.destinationDigest}
${verdictLine(outcome)}
`;
}

function passRow(report: PassReport): string[] {
  const { pass, live, bytes, durationMs } = report;
  return [
    `${pass}${live ? '' : ' (guest stopped)'}`,
    formatCount(entriesOf(report)),
    formatBytes(bytes),
    formatDuration(durationMs),
  ];
}

function totalRow({ passes, totalMs }: Outcome): string[] {
  const entries = passes.reduce((sum, report) => sum + entriesOf(report), 0);
  const bytes = passes.reduce((sum, report) => sum + report.bytes, 0);
  return ['total', formatCount(entries), formatBytes(bytes), formatDuration(totalMs)];
}

/** In the first pass the invalid entries are all that is empty; later they are what the guest has removed. */
function entriesOf({ pass, validEntries, invalidEntries }: PassReport): number {
  return validEntries + (pass === 1 ? 0 : invalidEntries);
}

function verdictLine({ verified, differences: { count, ptexes }, validEntries }: Outcome): string {
  if (verified) return `verified: all ${formatCount(validEntries)} entries are the same in both tables`;
  return `NOT VERIFIED: ${formatCount(count)} entries differ, the first of them ${ptexes.join(', ')}`;
}
