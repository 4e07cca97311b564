/**
 * Seeded pseudo-random numbers (xoshiro128**, seeded through splitmix32): the same seed gives the same sequence on
 * every machine. For tests and workloads; not for anything that must not be guessed.
 */
export class SeededRandom {
  #s0: number;
  #s1: number;
  #s2: number;
  #s3: number;

  /** @param seed any integer; only its low 32 bits count */
  constructor(seed: number) {
    let state = seed >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      return (word ^ (word >>> 15)) >>> 0;
    };
    this.#s0 = next();
    this.#s1 = next();
    this.#s2 = next();
    this.#s3 = next();
  }

  /** A generator that goes on where another was, by its `state`. */
  static from(state: readonly number[]): SeededRandom {
    const random = new SeededRandom(0);
    [random.#s0, random.#s1, random.#s2, random.#s3] = state.map((word) => word >>> 0) as [
      number,
      number,
      number,
      number,
    ];
    return random;
  }

  /** Four words of 32 bits that decide all that is still to come. */
  get state(): number[] {
    return [this.#s0, this.#s1, this.#s2, this.#s3].map((word) => word >>> 0);
  }

  /** The next 32 bits, 0..2^32 - 1. */
  uint32(): number {
    const scrambled = Math.imul(this.#s1, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = this.#s1 << 9;
    this.#s2 ^= this.#s0;
    this.#s3 ^= this.#s1;
    this.#s1 ^= this.#s2;
    this.#s0 ^= this.#s3;
    this.#s2 ^= shifted;
    this.#s3 = (this.#s3 << 11) | (this.#s3 >>> 21);
    return result;
  }

  /** An integer in 0..limit - 1; limit 1..2^32. */
  below(limit: number): number {
    return Math.floor((this.uint32() / 0x1_0000_0000) * limit);
  }

  /** True in `share` of all calls; share 0..1. */
  chance(share: number): boolean {
    return this.uint32() < share * 0x1_0000_0000;
  }
}
