import type { HptTable } from '../../hpt/table.js';
import { tableMap } from '../../inspect/table-map.js';
import type { Output } from '../output.js';
import { drawMap, mapStyleOf } from '../report/map.js';

const MAP_COLUMNS = 64;
const MAP_CELLS = 512;

/**
 * The map of the table that was moved, and the commands that show more of it.
 *
 * @param saved file that has the table; undefined: none has
 */
export function lookFurther(table: HptTable, output: Output, saved: string | undefined): string {
  const map = drawMap(tableMap(table, MAP_CELLS), MAP_COLUMNS, mapStyleOf(output.stdout, process.env));
  const file = saved ?? 'moved.hpt';
  const hints: (readonly [string, string])[] = [
    [`npx kvm-htab inspect ${file} --by context`, 'which process has most of it'],
    [`npx kvm-htab report ${file} -o report.html`, 'a page for the browser'],
  ];
  if (saved === undefined) hints.unshift([`npx kvm-htab demo --save ${file}`, 'keeps the moved table']);
  const width = Math.max(...hints.map(([command]) => command.length));
  return `
${map}
look further:
${hints.map(([command, what]) => `  ${command.padEnd(width)}  # ${what}\n`).join('')}`;
}
