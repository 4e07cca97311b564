import type { PassReport } from '../../precopy/pass-report.js';
import { formatBytes, formatCount, formatDuration, formatTable } from './format.js';

/** The passes of a migration as a table for a person to read. */
export function passTable(passes: readonly PassReport[], totalMs: number): string {
  const entries = passes.reduce((sum, pass) => sum + entriesOf(pass), 0);
  const bytes = passes.reduce((sum, pass) => sum + pass.bytes, 0);
  return formatTable([
    ['pass', 'entries', 'bytes', 'time'],
    ...passes.map(passRow),
    ['total', formatCount(entries), formatBytes(bytes), formatDuration(totalMs)],
  ]);
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

/** In the first pass the invalid entries are all that is empty; later they are what the guest has removed. */
function entriesOf({ pass, validEntries, invalidEntries }: PassReport): number {
  return validEntries + (pass === 1 ? 0 : invalidEntries);
}
