/**
 * Why no kernel writes a record with this header.
 *
 * @param stop end of its entries
 * @param reached where the record before it ended, in a stream that ascends; else 0
 * @param limit entries of the table
 */
export function whatIsWrong(index: number, stop: number, reached: number, limit: number): string | undefined {
  if (stop === index) return 'a record has neither valid nor invalid entries';
  if (stop > limit) return `a record ends at entry ${stop - 1}, beyond the last entry ${limit - 1}`;
  if (index < reached) return `a record begins before entry ${reached}, where the record before it ended`;
  return undefined;
}
