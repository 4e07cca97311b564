import { MAX_STREAM_ORDER, MIN_ORDER, tableBytes } from '../../hpt/geometry.js';
import { fitOrder } from '../../inspect/fit-order.js';
import { contextChanges } from '../../inspect/context-changes.js';
import type { TableStats } from '../../inspect/table-stats.js';
import { changeRows, contextRows, largestFirst, MAPPED, mappedCells } from '../report/context-rows.js';
import { hex } from '../report/entry-text.js';
import { formatBytes, formatCount, formatDuration, formatShare } from '../report/format.js';
import { adviceText, growthText, usualSize } from '../report/size-text.js';
import { NOT_SHOWN } from '../table/place.js';
import { html, number, htmlNumbers, htmlTable, type Html } from './html.js';
import type { Looked } from './looked.js';

/** Processes and segments beyond these are counted only. */
const ROWS_SHOWN = 200;

/** The numbers that matter first. */
export function summary({ stats, guest }: Looked): Html {
  const { order, entryCount, ptegCount, validCount, occupancy, secondary, cornered } = stats;
  const counted = (name: 'bolted' | 'referenced' | 'changed' | 'writable' | 'executable' | 'vrma'): Html =>
    count(name, stats[name]);
  const items: readonly (readonly [string, Html])[] = [
    [
      'Size',
      html`order ${number('order', order, String(order))}: ${formatBytes(tableBytes(order))},
      ${count('entryCount', entryCount)} entries in ${count('ptegCount', ptegCount)} groups of 8`,
    ],
    [
      'Valid',
      html`${count('validCount', validCount)} entries, ${formatShare(validCount, entryCount)};
      ${count('secondary', secondary)} by the second hash`,
    ],
    ['Needs to grow?', html`${growthText(stats)}`],
    [
      'Pressure',
      html`${count('full', occupancy[8]!)} groups full, ${formatShare(occupancy[8]!, ptegCount)};
      ${count('cornered', cornered)} entries with both groups full`,
    ],
    ['Usual size?', html`${adviceText(stats, usualSize(stats, guest))}`],
    [
      'Marks',
      html`${counted('bolted')} bolted, ${counted('referenced')} referenced, ${counted('changed')} changed`,
    ],
    [
      'Access',
      html`${counted('writable')} writable, ${counted('executable')} executable, ${counted('vrma')} in the
      VRMA`,
    ],
    ['Health', health(stats)],
  ];
  const cards = items.map(
    ([title, text]) =>
      html`<div>
        <dt>${title}</dt>
        <dd>${text}</dd>
      </div> `,
  );
  return html`<dl>${cards}</dl>`;
}

function health({ misplaced, doubled, unreadable }: TableStats): Html {
  const verdict = misplaced + doubled + unreadable === 0 ? 'good' : 'UNHEALTHY';
  return html`${verdict}: ${count('misplaced', misplaced)} misplaced, ${count('doubled', doubled)} doubled,
  ${count('unreadable', unreadable)} unreadable`;
}

/** Who has what: contexts of a Linux guest, or else segments. */
export function owners({ stats, guest }: Looked): Html {
  if (guest === undefined) {
    const { vsids } = stats;
    const rows = vsids
      .slice(0, ROWS_SHOWN)
      .map((each) => [hex(each.vsid), each.segment, ...mappedCells(each)]);
    return html`<p>
        No Linux guest, or one before 4.12: its bolted entries are not those of a Linux kernel. So there are
        segments here, not processes.
      </p>
      ${htmlTable('Segments, the largest first', [['vsid', 'segment', ...MAPPED], ...rows])}
      ${more(vsids.length - rows.length, 'segments')}`;
  }
  const processes = guest.contexts.filter(({ region }) => region === 'process');
  const others = guest.contexts.filter(({ region }) => region !== 'process');
  const shown = largestFirst(processes).slice(0, ROWS_SHOWN);
  return html`<p>
      A Linux guest with pages of ${guest.kernelPages}: ${count('processes', processes.length)}
      ${processes.length === 1 ? 'process' : 'processes'}. ${count('unknown', guest.unknown)} entries are of
      no context. Which process has a context, only the guest knows.
    </p>
    ${htmlTable('Parts of the kernel', contextRows(others))}
    ${htmlTable('Processes, the largest first', contextRows(shown))}
    ${more(processes.length - shown.length, 'processes')}`;
}

/** What other sizes would mean. */
export function sizes({ stats, guest, table }: Looked): Html {
  const { order } = stats;
  const usual = usualSize(stats, guest);
  const orders = [order - 2, order - 1, order, order + 1, order + 2, usual?.linux, usual?.qemu]
    .filter((each): each is number => each !== undefined && each >= MIN_ORDER && each <= MAX_STREAM_ORDER)
    .sort((a, b) => a - b);
  const rows = [...new Set(orders)].map((each) => {
    const { verdict, load } = fitOrder(table, each);
    const who = [
      ...(each === order ? ['this table'] : []),
      ...(each === usual?.linux ? ['Linux asks for it'] : []),
      ...(each === usual?.qemu ? ['QEMU allocates it'] : []),
    ];
    const outcome =
      each === order ? '-' : { fits: 'fits', 'no-space': 'refused', 'would-crash': 'WOULD CRASH' }[verdict];
    return [String(each), formatBytes(tableBytes(each)), formatShare(load, 1), outcome, who.join(', ')];
  });
  return html`<p>This table: ${adviceText(stats, usual)}.</p>
    ${htmlTable('Orders near this one', [['order', 'bytes', 'would be valid', 'a resize to it', ''], ...rows])}
    <p>
      A resize moves bolted entries and drops the others, which the guest enters anew. “Refused” and “would
      crash” are where bolted entries would meet.
    </p>`;
}

/** What the passes after the first changed; empty for a single one. */
export function changes({ passes, guest, isRechecked }: Looked): Html {
  if (passes.length < 2) return html``;
  const rows = passes
    .slice(1)
    .map(({ pass, validEntries, durationMs, changes: { come, gone, changed, marksOnly } }) => [
      String(pass),
      ...[come, gone, changed, marksOnly, validEntries].map(formatCount),
      formatDuration(durationMs),
    ]);
  const segments = passes.slice(1).flatMap(({ changes: found }) => found.segments);
  const contexts = contextChanges(segments, guest?.kernelPages).slice(0, ROWS_SHOWN);
  return html`<section aria-labelledby="h-changes">
    <h2 id="h-changes">Change</h2>
    <figure>
      <div
        class="chart"
        id="passes"
        role="img"
        aria-label="Entries that came, went and changed, by pass; the table after it has the numbers"
      ></div>
    </figure>
    ${htmlNumbers('passes', [['pass', 'came', 'went', 'changed', 'in R and C alone', 'valid', 'time'], ...rows])}
    ${htmlTable('Change by region and process', changeRows(contexts))}
    ${isRechecked ? html`` : html`<p class="warning">Not rechecked: ${NOT_SHOWN.join(' ')}.</p>`}
  </section>`;
}

function count(name: string, value: number): Html {
  return number(name, value, formatCount(value));
}

function more(rest: number, what: string): Html {
  return rest > 0 ? html`<p>and ${formatCount(rest)} more ${what}</p>` : html``;
}
