/** One of the traps of kernel-abi.md 0: what a kernel does, and what this library does about it. */
export interface Trap {
  readonly trap: number;
  /** What the kernel does. */
  readonly kernel: string;
  /** What this library does about it. */
  readonly library: string;
  /** Why no kernel is asked for it here. */
  readonly untried?: string;
}

export const TRAPS: readonly Trap[] = [
  {
    trap: 1,
    kernel: 'takes the second record of a write from the bytes of the first one',
    library: 'writes one record a call',
  },
  {
    trap: 2,
    kernel: 'reads up to 8 bytes beyond the buffer of a write, and returns more than its length',
    library: 'checks the length of every record before it calls the kernel',
  },
  {
    trap: 3,
    kernel: 'returns its own lock bit, 0x40 of v, with every valid entry',
    library: 'strips the bit before it compares or decodes',
  },
  {
    trap: 4,
    kernel: 'loses bits 52 to 61 of v on POWER9 and later',
    library: 'refuses a table that a destination would lose bits of',
  },
  {
    trap: 5,
    kernel: 'frees the table before it refuses a wrong order, and crashes at order 0',
    library: 'refuses such an order itself',
    untried: 'the library never asks a kernel for it',
  },
  {
    trap: 6,
    kernel: 'clears a table without a mark that readers would see',
    library: 'looks at the table through a fresh descriptor before it says that a table is moved or saved',
  },
  {
    trap: 7,
    kernel: 'answers 0 bytes where a buffer has 24 bytes or less',
    library: 'takes no such buffer',
  },
  {
    trap: 8,
    kernel: 'has one mark of change an entry: the first reader takes it from all others',
    library: 'refuses a second reader of a VM in its process; it cannot see one elsewhere',
  },
  {
    trap: 9,
    kernel: 'answers 0 bytes for a guest that has no table, for ever',
    library: 'takes 0 bytes from a fresh descriptor for "no table"',
  },
  {
    trap: 10,
    kernel: 'warns in its log at a COMMIT before the guest uses its MMU, and discards the new table',
    library: 'says that the guest must have run first',
    untried: 'it would write a warning to the log of the kernel',
  },
  {
    trap: 11,
    kernel: 'loses R and C at a COMMIT where no reader has collected them',
    library: 'refuses a resize while a reader of its process is open',
  },
  {
    trap: 12,
    kernel: 'crashes at a COMMIT that sends two bolted entries to one slot',
    library: 'looks for such entries first, and refuses the resize',
    untried: 'the library never asks a kernel for it',
  },
];
