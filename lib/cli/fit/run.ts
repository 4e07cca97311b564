import { fitOrder, type Fit } from '../../inspect/fit-order.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatCount, formatShare } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { lookAtTable, lookingOf } from '../table/look.js';
import type { TableOptions } from '../table/place.js';

/** What `kvm-htab fit` takes. */
export interface FitCommandOptions extends TableOptions {
  readonly to: number;
  readonly json?: boolean;
}

/**
 * Predicts a resize.
 *
 * @returns the exit code: 0 if the table fits
 */
export async function fit(
  file: string | undefined,
  options: FitCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { name, table } = await lookAtTable(file, options, lookingOf(signal, output, options));
  const prediction = fitOrder(table, options.to);
  const { order: newOrder, ...others } = prediction;
  if (options.json === true) {
    output.stdout.write(jsonDocument({ source: name, order: table.order, newOrder, ...others }));
  } else {
    output.stdout.write(describe(name, table.order, prediction));
  }
  return prediction.verdict === 'fits' ? EXIT_CODES.ok : EXIT_CODES.failed;
}

const VERDICTS: Readonly<Record<Fit['verdict'], string>> = {
  fits: 'fits: each bolted entry has a place',
  'no-space': 'does not fit: the kernel would refuse it (ENOSPC), and the old table would stay',
  'would-crash': 'WOULD CRASH THE HOST: the kernel does not check where bolted entries meet',
};

function describe(name: string, order: number, prediction: Fit): string {
  const { verdict, bolted, dropped, meetingCount, meetings, occupancy, load } = prediction;
  const groups = occupancy.reduce((sum, count) => sum + count, 0);
  const meeting = meetings.map(
    ({ target, ptexes }) => `  ptex ${ptexes.join(' and ')} would meet at ${target}\n`,
  );
  return `${name}, order ${order}, as order ${prediction.order}: ${VERDICTS[verdict]}

moved        ${formatCount(bolted)} bolted entries
dropped      ${formatCount(dropped)} others, which the guest enters anew
load         ${formatShare(load, 1)} of the entries valid, once it has
full groups  ${formatCount(occupancy[8]!)} of ${formatCount(groups)} with bolted entries alone
${meetingCount === 0 ? '' : `\n${formatCount(meetingCount)} places where bolted entries would meet${meetings.length < meetingCount ? `, the first ${meetings.length}` : ''}:\n${meeting.join('')}`}`;
}
