// Which entries of a table are valid, and what they hold: as guests leave them, and the same in every run.

const GROUP = 8;

/** @returns {() => number} a repeatable sequence of 32-bit numbers (xorshift) */
export function numbers(seed = 0x9e3779b9) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** @returns {() => number} numbers from 0 up to but without 1 */
function fractions(seed = 0x9e3779b9) {
  const next = numbers(seed);
  return () => next() / 2 ** 32;
}

/**
 * Which entries are valid, ascending.
 *
 * @typedef {(entryCount: number) => Generator<number>} Pattern
 */

/** Each entry with the same probability. @param {number} share @returns {Pattern} */
export function scattered(share) {
  return function* (entryCount) {
    const next = fractions();
    for (let ptex = 0; ptex < entryCount; ptex++) if (next() < share) yield ptex;
  };
}

/** As a guest fills its groups: the first slots of each, a Poisson number of them. @param {number} share @returns {Pattern} */
export function grouped(share) {
  return function* (entryCount) {
    const next = fractions();
    const limit = Math.exp(-share * GROUP);
    for (let group = 0; group < entryCount; group += GROUP) {
      let product = next();
      for (let slot = 0; slot < GROUP && product > limit; slot++, product *= next()) yield group + slot;
    }
  };
}

/** The first slots of up to 512 groups in a row, then none for a while. @param {number} share @returns {Pattern} */
export function clustered(share) {
  return function* (entryCount) {
    const next = fractions();
    let group = 0;
    for (;;) {
      const length = 1 + Math.floor(next() * 512);
      group += Math.floor(next() * 2 * length * (1 / (share * GROUP) - 1));
      for (const end = group + length; group < end; group++) {
        if (group * GROUP >= entryCount) return;
        yield group * GROUP;
      }
    }
  };
}

/** Every entry. @type {Pattern} */
export function* full(entryCount) {
  for (let ptex = 0; ptex < entryCount; ptex++) yield ptex;
}

/**
 * The entries of a pattern in an order as random as a hash makes it.
 *
 * @param {Pattern} pattern
 * @param {number} entryCount
 */
export function shuffled(pattern, entryCount) {
  const list = Uint32Array.from(pattern(entryCount));
  const next = fractions(7);
  for (let index = list.length - 1; index > 0; index--) {
    const other = Math.floor(next() * (index + 1));
    const held = list[index] ?? 0;
    list[index] = list[other] ?? 0;
    list[other] = held;
  }
  return list;
}

/**
 * Each number below 2^bits for exactly one `index` below it, in a random order that needs no list.
 *
 * @param {number} index
 * @param {number} bits up to 32
 */
export function scramble(index, bits) {
  const mask = 0xffffffff >>> (32 - bits);
  const half = bits >>> 1;
  let number = index;
  // Odd factors and shifts to the right lose nothing within the mask.
  number = Math.imul(number ^ (number >>> half), 0x85ebca6b) & mask;
  number = Math.imul((number >>> 0) ^ (number >>> half), 0xc2b2ae35) & mask;
  return ((number >>> 0) ^ (number >>> half)) >>> 0;
}

/**
 * An HPTE as Linux makes them: pages of 64K, few of 16M, somewhere in a 1T segment.
 *
 * @param {() => number} next
 * @param {Uint32Array} hpte receives vHigh, vLow, rHigh, rLow
 */
export function makeHpte(next, hpte) {
  const large = next() < 2 ** 32 / 16;
  hpte[0] = 0x40000000 | (next() & 0xfffff);
  hpte[1] = (next() & 0xffffff80) | 0x45;
  hpte[2] = next() & 0xff;
  hpte[3] = large ? (next() & 0xff000000) | 0x190 : (next() & 0xffff0000) | 0x1190;
}
