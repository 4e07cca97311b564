/** How a map is drawn: with colours of 24 bits, with blocks of 8 heights, or with digits alone. */
export type MapStyle = 'colour' | 'blocks' | 'digits';

const BLOCKS = ' ▁▂▃▄▅▆▇█';
/** From dark blue to yellow, as colour-blind readers can tell them apart too (viridis). */
const COLOURS = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
] as const;
const EMPTY = [24, 24, 24] as const;
const RESET = '\u001b[0m';

/** What a terminal can show. NO_COLOR (no-color.org) and output that is no terminal get digits. */
export function mapStyleOf(
  output: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): MapStyle {
  if (output.isTTY !== true || (environment['NO_COLOR'] ?? '') !== '') return 'digits';
  return /^(truecolor|24bit)$/.test(environment['COLORTERM'] ?? '') ? 'colour' : 'blocks';
}

/**
 * Shares as a map, row by row, and a line that tells its scale.
 *
 * @param shares 0..1, a power of two of them
 * @param columns of the map, which divides their number
 */
export function drawMap(shares: Float64Array, columns: number, style: MapStyle): string {
  const rows: Float64Array[] = [];
  for (let from = 0; from < shares.length; from += columns) rows.push(shares.subarray(from, from + columns));
  if (style !== 'colour') {
    const glyph = style === 'digits' ? digitOf : blockOf;
    const lines = rows.map((row) => Array.from(row, glyph).join('').trimEnd());
    return `${lines.join('\n')}\n${scaleOf(style)}\n`;
  }
  const lines: string[] = [];
  for (let row = 0; row < rows.length; row += 2) lines.push(halfBlocks(rows[row]!, rows[row + 1]));
  return `${lines.join('\n')}\n${scaleOf(style)}\n`;
}

/** Shares as one line without a scale. With digits, 1 to 9 are ninths: a share that is not 0 shows. */
export function drawRow(shares: Float64Array, style: MapStyle): string {
  if (style === 'digits') {
    return Array.from(shares, (share) =>
      share === 0 ? '.' : String(Math.max(1, Math.round(share * 9))),
    ).join('');
  }
  if (style === 'blocks') return Array.from(shares, blockOf).join('');
  return Array.from(shares, (share) => `\u001b[48;2;${colourOf(share).join(';')}m `).join('') + RESET;
}

/** Two rows as one line: the upper halves in the colour of the text, the lower ones in that behind it. */
function halfBlocks(upper: Float64Array, lower: Float64Array | undefined): string {
  const cells = Array.from(upper, (share, column) => {
    const below = lower === undefined ? '' : `;48;2;${colourOf(lower[column]!).join(';')}`;
    return `\u001b[38;2;${colourOf(share).join(';')}${below}m▀`;
  });
  return cells.join('') + RESET;
}

/** A dot where nothing is; 0 to 9 for less than a tenth up to the whole. */
function digitOf(share: number): string {
  return share === 0 ? '.' : String(Math.min(Math.floor(share * 10), 9));
}

function blockOf(share: number): string {
  return share === 0 ? BLOCKS[0]! : BLOCKS[Math.max(1, Math.ceil(share * 8 - 1e-9))]!;
}

/** Red, green and blue, 0..255. */
export function colourOf(share: number): readonly number[] {
  if (share === 0) return EMPTY;
  const at = Math.min(share, 1) * (COLOURS.length - 1);
  const first = Math.min(Math.floor(at), COLOURS.length - 2);
  const [from, to] = [COLOURS[first]!, COLOURS[first + 1]!];
  return from.map((value, k) => Math.round(value + (to[k]! - value) * (at - first)));
}

function scaleOf(style: MapStyle): string {
  if (style === 'digits') return '. empty, 0 to 9: valid share in tenths';
  if (style === 'blocks') return `valid share: ${BLOCKS.slice(1)} up to all`;
  const steps = Array.from({ length: 16 }, (_, step) => {
    return `\u001b[48;2;${colourOf((step + 1) / 16).join(';')}m `;
  });
  return `valid share: 0 ${steps.join('')}${RESET} 1`;
}
