import { largestFirst } from '../report/context-rows.js';
import { formatPageSize } from '../report/format.js';
import type { Looked } from './looked.js';
import type { BarsData, PassesData } from './page-data.js';

const BARS_SHOWN = 16;

/** Groups by the valid entries that they hold, and what evenly spread entries would give. */
export function occupancyBars({ stats: { occupancy, ptegCount, validCount } }: Looked): BarsData {
  return {
    title: 'groups',
    axisTitle: 'valid entries',
    names: occupancy.map((_, held) => String(held)),
    values: occupancy,
    line: { title: 'if spread evenly', values: evenlySpread(ptegCount, validCount / ptegCount) },
  };
}

/** The largest contexts of a Linux guest, or else segments. */
export function ownerBars({ stats, guest }: Looked): BarsData {
  const owners =
    guest === undefined
      ? stats.vsids.map(({ vsid, entries }) => ({ name: vsid.toString(16), entries }))
      : largestFirst(guest.contexts).map(({ region, context, entries }) => ({
          name: region === 'process' || region === 'linear' ? `${region} ${context}` : region,
          entries,
        }));
  const shown = owners.slice(0, BARS_SHOWN);
  return {
    title: 'entries',
    axisTitle: guest === undefined ? 'vsid' : 'of',
    names: shown.map(({ name }) => name),
    values: shown.map(({ entries }) => entries),
  };
}

export function pageSizeBars({ stats: { pageSizes } }: Looked): BarsData {
  return {
    title: 'entries',
    axisTitle: 'page size',
    names: pageSizes.map(({ basePageShift, actualPageShift }) => {
      const base = basePageShift === actualPageShift ? '' : ` by ${formatPageSize(basePageShift)}`;
      return `${formatPageSize(actualPageShift)}${base}`;
    }),
    values: pageSizes.map(({ entries }) => entries),
  };
}

export function passLines({ passes }: Looked): PassesData | undefined {
  const later = passes.slice(1);
  if (later.length === 0) return undefined;
  return {
    passes: later.map(({ pass }) => pass),
    lines: {
      came: later.map(({ changes }) => changes.come),
      went: later.map(({ changes }) => changes.gone),
      changed: later.map(({ changes }) => changes.changed),
    },
  };
}

/** Groups that would hold 0 to 8 entries: a Poisson distribution, all beyond 8 in the last. */
function evenlySpread(groups: number, mean: number): number[] {
  const expected: number[] = [];
  let probability = Math.exp(-mean);
  let left = 1;
  for (let held = 0; held < 8; held++) {
    expected.push(groups * probability);
    left -= probability;
    probability *= mean / (held + 1);
  }
  return [...expected, groups * Math.max(left, 0)];
}
