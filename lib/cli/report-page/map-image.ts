import { PNG } from 'pngjs';
import { HPTES_PER_GROUP, ptegCount } from '../../hpt/geometry.js';
import type { HptTable } from '../../hpt/table.js';
import { groupCounts } from '../../inspect/group-counts.js';
import type { MapData } from './page-data.js';

/** 2048 x 1024. Of noise, the worst that a table can be, so many pixels make a file of 1.8 MB. */
const MAX_PIXELS = 2 ** 21;
const MAX_GREY = 255;

/** The map of a table as an image. */
export interface MapImage extends MapData {
  /** PNG in shades of grey. */
  readonly png: Buffer;
}

/** Draws a table from its first group, at the upper left, to its last, row by row. */
export function mapImage(table: HptTable): MapImage {
  const groups = ptegCount(table.order);
  const pixels = Math.min(groups, MAX_PIXELS);
  const groupsPerPixel = groups / pixels;
  // Wider than high, as screens and pages are read.
  const width = 2 ** Math.ceil((Math.log2(pixels) + 1) / 2);
  const height = pixels / width;
  const scale = Math.min(MAX_GREY / (groupsPerPixel * HPTES_PER_GROUP), 1);
  const data = Buffer.from(groupCounts(table, groupsPerPixel).map((count) => Math.ceil(count * scale)));
  // Shades of a noise have no neighbours that foretell them: no filter is smaller than any.
  const grey = {
    colorType: 0,
    inputColorType: 0,
    inputHasAlpha: false,
    filterType: 0,
    deflateLevel: 9,
  } as const;
  const png = PNG.sync.write(Object.assign(new PNG({ width, height, ...grey }), { data }), grey);
  return { width, height, groupsPerPixel, scale, png };
}
