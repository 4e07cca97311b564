import { readFileSync } from 'node:fs';
import path from 'node:path';
import { HtabUnavailableError } from '../../base/errors.js';
import { packageRoot } from '../../base/package-root.js';
import { HPTES_PER_GROUP } from '../../hpt/geometry.js';
import { tableMap } from '../../inspect/table-map.js';
import { formatCount, formatShare } from '../report/format.js';
import { occupancyBars, ownerBars, pageSizeBars, passLines } from './charts.js';
import { type Html, html, jsonScript, htmlNumbers, scriptOf, stylesOf } from './html.js';
import type { Looked } from './looked.js';
import { mapImage, type MapImage } from './map-image.js';
import type { BarsData, PageData } from './page-data.js';
import { groupRows } from '../report/groupings.js';
import { changes, owners, sizes, summary } from './sections.js';

/** Nothing may be loaded: the page is all there is. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
const MAP_PARTS = 64;

/**
 * A report as one HTML document that needs no network and no server.
 *
 * @throws HtabUnavailableError if the package has no script for it
 */
export function documentOf(looked: Looked): string {
  const { name } = looked;
  const image = mapImage(looked.table);
  const { png: _, ...map } = image;
  const bars = {
    occupancy: occupancyBars(looked),
    owners: ownerBars(looked),
    pages: pageSizeBars(looked),
  };
  const data: PageData = { map, bars, passes: passLines(looked) };
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <link rel="icon" href="data:," />
        <title>Page table of ${name}</title>
        ${stylesOf(asset('page.css'))}
      </head>
      <body>
        <header>
          <h1>Page table of ${name}</h1>
          <p>Made by kvm-htab on <time>${new Date().toISOString()}</time></p>
        </header>
        ${mainOf(looked, image, bars)} ${jsonScript('data', data)} ${scriptOf(asset('page.js'))}
      </body>
    </html> `.text;
}

type Bars = Readonly<Record<'occupancy' | 'owners' | 'pages', BarsData>>;

function mainOf(looked: Looked, image: MapImage, bars: Bars): Html {
  return html`<main>
    <section aria-labelledby="h-summary">
      <h2 id="h-summary">Summary</h2>
      ${summary(looked)}
    </section>
    <section aria-labelledby="h-owners">
      <h2 id="h-owners">Regions and processes</h2>
      ${chart('owners', 'Entries of the largest', bars.owners)} ${owners(looked)}
    </section>
    <section aria-labelledby="h-map">
      <h2 id="h-map">Map</h2>
      ${mapFigure(looked, image)}
    </section>
    <section aria-labelledby="h-groups">
      <h2 id="h-groups">Groups and pages</h2>
      <div class="pair">
        ${chart('occupancy', 'Groups by their number of valid entries', bars.occupancy)}
        ${chart('pages', 'Entries by page size', bars.pages)}
      </div>
      ${htmlNumbers('groups by their number of valid entries', barRows(bars.occupancy))}
      ${htmlNumbers('entries by page size', groupRows('page-size', looked.stats, looked.guest))}
    </section>
    ${changes(looked)}
    <section aria-labelledby="h-sizes">
      <h2 id="h-sizes">Sizes</h2>
      ${sizes(looked)}
    </section>
  </main>`;
}

function mapFigure({ table, stats }: Looked, { width, height, groupsPerPixel, png }: MapImage): Html {
  const each = groupsPerPixel === 1 ? 'a group' : `${formatCount(groupsPerPixel)} groups`;
  const partGroups = stats.ptegCount / MAP_PARTS;
  const shares = [...tableMap(table, MAP_PARTS)];
  const rows = shares.map((share, part) => {
    const valid = Math.round(share * partGroups * HPTES_PER_GROUP);
    const first = part * partGroups;
    return [
      `${formatCount(first)} to ${formatCount(first + partGroups - 1)}`,
      formatCount(valid),
      formatShare(share, 1),
    ];
  });
  const label = `Map of the table: ${formatCount(stats.validCount)} valid entries; the table after it has the numbers of 64 parts`;
  return html`<figure>
      <p>From the first group, upper left, to the last, row by row; a pixel is ${each} of 8 entries.</p>
      <div class="toolbar" id="map-tools" hidden>
        <button type="button" data-zoom="in" aria-label="Zoom in">+</button>
        <button type="button" data-zoom="out" aria-label="Zoom out">−</button>
        <button type="button" data-zoom="whole">Whole table</button>
        <span class="scale">empty <span class="ramp" aria-hidden="true"></span> full</span>
      </div>
      <div id="map" class="map">
        <img
          id="map-image"
          alt="${label}"
          width="${width}"
          height="${height}"
          src="data:image/png;base64,${png.toString('base64')}"
        />
      </div>
      <p>
        <output id="map-at" aria-live="polite"
          >Point at the map, or move on it with the arrow keys; + and - zoom, 0 shows the whole table.</output
        >
      </p>
    </figure>
    ${htmlNumbers('the map, in 64 parts', [['groups', 'valid entries', 'share'], ...rows])}`;
}

function chart(id: string, title: string, { names, values }: BarsData): Html {
  const largest = Math.max(...values);
  const label =
    values.length === 0
      ? `${title}: none`
      : `${title}: ${names.length} bars, the highest is ${names[values.indexOf(largest)]!} with ${formatCount(largest)}; a table after it has the numbers`;
  return html`<figure>
    <figcaption>${title}</figcaption>
    <div class="chart" id="${id}" role="img" aria-label="${label}"></div>
  </figure>`;
}

function barRows({ title, axisTitle, names, values, line }: BarsData): string[][] {
  return [
    [axisTitle, title, ...(line === undefined ? [] : [line.title])],
    ...names.map((name, k) => [
      name,
      formatCount(values[k]!),
      ...(line === undefined ? [] : [formatCount(line.values[k]!)]),
    ]),
  ];
}

/** What `npm run compile` makes of the folder `page`. */
function asset(name: string): string {
  const file = path.join(packageRoot(), 'dist/page', name);
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const hint = 'install the package again, or run "npm run compile" in a clone of its repository';
    throw new HtabUnavailableError('unsupported', `cannot read ${file}, a part of every report`, hint, {
      cause,
    });
  }
}
