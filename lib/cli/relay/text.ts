import { HtabError } from '../../base/errors.js';
import type { RelayProgress } from '../../qemu/relay/relay-options.js';
import type { RelayReport } from '../../qemu/relay/relay-report.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount, formatDuration, formatShare } from '../report/format.js';
import { createLineDisplay, type ProgressDisplay } from '../report/progress.js';

export const STATE_LINES: Readonly<Record<RelayProgress['state'], string>> = {
  copying: 'the source has come, and the destination has been connected',
  judged: 'the table is right: the state of the devices goes on',
  'handed-over': 'all has gone on',
};

/** Where the guest of a migration is that has failed. */
export function whereTheGuestIs(progress: RelayProgress | undefined, error: unknown): string {
  if (progress === undefined) return 'nothing has gone to the destination: the guest is at the source';
  if (progress.state === 'handed-over') {
    if (error instanceof HtabError && error.code === 'ERR_HTAB_MIGRATION')
      return 'the destination did not take the guest: it goes on at the source';
    return 'all had gone to the destination: ask both QEMUs which of them runs the guest (query-status) before you resume one';
  }
  const text =
    'the destination cannot run the guest, as it did not get all of it: the guest goes on at the source';
  return progress.returnPath
    ? text
    : `${text}. If its query-migrate says completed (it has no return path), let it run again by cont`;
}

export function createRelayDisplay(stderr: Output['stderr']): ProgressDisplay<RelayProgress> {
  return createLineDisplay(
    stderr,
    ({ bytes, pages, validEntries }: RelayProgress) =>
      `passed on ${formatBytes(bytes)}, ${formatCount(pages)} pages, ${formatCount(validEntries)} entries`,
  );
}

export function describeRelay(report: RelayReport): string {
  const { streamBytes, durationMs, ram, records, tableParts, returnBytes, findings } = report;
  const table =
    report.order === undefined
      ? 'a radix guest, which has no table'
      : `order ${report.order}, ${formatCount(report.validEntries)} valid entries`;
  const end = report.acknowledged
    ? 'the destination has the guest'
    : 'the destination has taken all. Without a return path it cannot say whether it has loaded the guest: ask it (query-status)';
  return `Passed on: ${table}; ${end}.

stream   ${formatBytes(streamBytes)} in ${formatDuration(durationMs)}, ${formatCount(ram?.pages ?? 0)} pages of memory
table    ${formatCount(records.records)} records of ${formatBytes(records.bytes)} in ${tableParts} parts
${stopLine(report)}return   ${formatBytes(returnBytes)}
${findings.map(({ kind, message }) => `${kind}: ${message}\n`).join('')}`;
}

function stopLine({ stop }: RelayReport): string {
  if (stop === undefined) return '';
  const { stopMs, tableMs, stopBytes, tableBytes } = stop;
  const share = `${formatDuration(tableMs)} (${formatShare(tableMs, stopMs)}) and ${formatBytes(tableBytes)}`;
  return `stop     ${formatDuration(stopMs)} and ${formatBytes(stopBytes)}, of which the table ${share}\n`;
}
