// Hot code works on the two 32-bit halves of a doubleword; bigints are for the public edge.

/** The high 32 bits of a doubleword. */
export function highHalf(doubleword: bigint): number {
  return Number((doubleword >> 32n) & 0xffffffffn);
}

/** The low 32 bits of a doubleword. */
export function lowHalf(doubleword: bigint): number {
  return Number(doubleword & 0xffffffffn);
}

/** A doubleword from its halves. */
export function joinHalves(high: number, low: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
