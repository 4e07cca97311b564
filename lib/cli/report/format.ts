const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** 17812 as `17,812`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** Bytes with three digits and a decimal unit: `416 kB`, `1.05 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${BYTE_UNITS[unit]!}`;
}

/** Milliseconds as `12.3 ms` or, from a second on, `2.61 s`. */
export function formatDuration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** How long a guest stood still. A process that was stopped itself (SIGSTOP), or had no CPU, cannot keep its limit. */
export function formatStop(ms: number, limitMs: number): string {
  return `${formatDuration(ms)}${ms > limitMs ? `, longer than the limit of ${formatDuration(limitMs)}` : ''}`;
}

/**
 * Rows of cells as aligned lines, two spaces between columns.
 *
 * @param rows the first is the heading; its first column is aligned to the left, the others to the right
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A page size by its log2: 16 as `64K`. */
export function formatPageSize(shift: number): string {
  const unit = Math.min(3, Math.floor(shift / 10));
  return `${2 ** (shift - unit * 10)}${['', 'K', 'M', 'G'][unit]!}`;
}

/** A share as a percentage: `3.4 %`. */
export function formatShare(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`;
}

/** An address of 64 bits as 16 hexadecimal digits. */
export function formatHex64(address: bigint): string {
  return address.toString(16).padStart(16, '0');
}
