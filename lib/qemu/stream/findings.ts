/**
 * What can be odd about a stream, or its table.
 *
 * | kind             | what it means                                                                                    |
 * | ---------------- | ------------------------------------------------------------------------------------------------ |
 * | `no-table`       | no page table was sent: another machine than pseries                                             |
 * | `radix`          | the guest uses radix, and has no table                                                           |
 * | `no-end`         | the last part of the table is missing: it was not whole when the stream ended                    |
 * | `resized`        | the order is announced again, with another value                                                 |
 * | `announced-again`| the order is announced again, with the same value: what came before is lost                      |
 * | `out-of-range`   | records beyond the table's end, as after a resize: QEMU refuses the stream                       |
 * | `index-wraps`    | records whose end is beyond 32 bits: QEMU crashes                                                |
 * | `long-record`    | records of more than 127 valid entries: QEMU reads them onto a coroutine's stack                 |
 * | `late-table`     | parts of the table after the first device                                                        |
 * | `no-footer`      | sections without a footer: devices cannot be told apart, and were not read                       |
 * | `no-description` | the description of the devices is missing, or cannot be read                                     |
 * | `undescribed`    | the devices are not those of the description                                                     |
 * | `misplaced`      | entries in a PTEG that no address of theirs hashes to                                            |
 * | `double`         | entries for a page that an entry before them maps                                                |
 */
export type QemuFindingKind =
  | 'no-table'
  | 'radix'
  | 'no-end'
  | 'resized'
  | 'announced-again'
  | 'out-of-range'
  | 'index-wraps'
  | 'long-record'
  | 'late-table'
  | 'no-footer'
  | 'no-description'
  | 'undescribed'
  | 'misplaced'
  | 'double';

/** One kind of oddity: how often, and where first. */
export interface QemuFinding {
  readonly kind: QemuFindingKind;
  /** What it is and what it leads to, in a sentence. */
  readonly message: string;
  /** How often it was seen. */
  readonly count: number;
  /** Where it was seen first: the offset in the stream. */
  readonly byteOffset?: number;
  /** Where it was seen first: the entry. */
  readonly ptex?: number;
}

/** Those that leave no table a guest could run on. */
const SPOILING: ReadonlySet<QemuFindingKind> = new Set<QemuFindingKind>([
  'no-table',
  'radix',
  'no-end',
  'resized',
  'announced-again',
  'out-of-range',
  'index-wraps',
  'late-table',
]);

/** The first finding that leaves no table a guest could run on. */
export function spoiled(findings: readonly QemuFinding[]): QemuFinding | undefined {
  return findings.find(({ kind }) => SPOILING.has(kind));
}

/** Collects findings, one of each kind: what is found a million times takes no more memory than once. */
export class Findings {
  readonly #found = new Map<QemuFindingKind, QemuFinding>();

  /** @param message of the first of its kind */
  add(
    kind: QemuFindingKind,
    message: string | (() => string),
    place: { readonly byteOffset?: number; readonly ptex?: number } = {},
  ): void {
    const first = this.#found.get(kind);
    this.#found.set(
      kind,
      first === undefined
        ? { kind, message: typeof message === 'string' ? message : message(), count: 1, ...place }
        : { ...first, count: first.count + 1 },
    );
  }

  has(kind: QemuFindingKind): boolean {
    return this.#found.has(kind);
  }

  /** How many kinds have been found. */
  get size(): number {
    return this.#found.size;
  }

  get list(): QemuFinding[] {
    return [...this.#found.values()];
  }
}
