import { HtabSystemError } from '../../lib/base/errors.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../lib/vm/emulated/htab-file.js';
import { Comparison, type Operation, bytesOf, numberOf, resultOf, textOf } from './recording.js';

const PROTECTION_FAULT = 0x08000000;

interface RecordedRegion {
  readonly guestAddress: string;
  readonly size: string;
  readonly hostPageShift: number;
  readonly populated: boolean;
}

/** Replays recorded random sequences: every read's bytes, every return value, errno and register. */
export async function replayRandom(operations: readonly Operation[]): Promise<Comparison> {
  const comparison = new Comparison();
  let sequence = new Sequence(operations[0]!, comparison);
  for (const [line, operation] of operations.entries()) {
    if (operation.op === 'vm') sequence = new Sequence(operation, comparison);
    comparison.place = `seed ${sequence.seed} line ${line} ${operation.op}`;
    await sequence.replay(operation);
  }
  return comparison;
}

/** One recorded VM. */
class Sequence {
  readonly seed: string;
  readonly #vm: EmulatedVm;
  readonly #comparison: Comparison;
  readonly #files = new Map<number, HtabFile>();
  readonly #mmioPages = new Set<string>();

  constructor(start: Operation, comparison: Comparison) {
    this.seed = textOf(start, 'seed');
    this.#comparison = comparison;
    this.#vm = new EmulatedVm({
      host: start['cpu'] === 'power8' ? 'power8' : 'power9',
      pageShift: numberOf(start, 'pageShift'),
      memoryRegions: (start['memoryRegions'] as RecordedRegion[]).map((region) => ({
        ...region,
        guestAddress: BigInt(region.guestAddress),
        size: BigInt(region.size),
      })),
    });
  }

  async replay(operation: Operation): Promise<void> {
    const vm = this.#vm;
    const check = this.#comparison.check.bind(this.#comparison);
    const file = this.#files.get(numberOf(operation, 'fd'));
    switch (operation.op) {
      case 'vm':
      case 'end':
        return;
      case 'allocate': {
        check('result', vm.allocateUnguarded(numberOf(operation, 'order')), resultOf(operation));
        return;
      }
      case 'prepare': {
        check(
          'result',
          await answerOf(vm.prepareHptResize(numberOf(operation, 'shift'))),
          resultOf(operation),
        );
        return;
      }
      case 'commit': {
        check(
          'result',
          await answerOf(vm.commitHptResize(numberOf(operation, 'shift'))),
          resultOf(operation),
        );
        return;
      }
      case 'open': {
        const opened = vm.openFile(numberOf(operation, 'flags'), numberOf(operation, 'start'));
        if (typeof opened !== 'number') this.#files.set(numberOf(operation, 'fd'), opened);
        check('result', typeof opened === 'number' ? opened : 0, resultOf(operation));
        return;
      }
      case 'close':
        file!.release();
        this.#files.delete(numberOf(operation, 'fd'));
        return;
      case 'read': {
        const buffer = Buffer.alloc(numberOf(operation, 'count'));
        const bytes = file!.read(buffer);
        check('result', bytes, resultOf(operation));
        check('bytes', buffer.toString('hex', 0, Math.max(0, bytes)), textOf(operation, 'hex'));
        return;
      }
      case 'write': {
        // The kernel took bytes beyond the buffer, which were zero: the replay has them in the buffer.
        const bytes = Buffer.alloc(Number(operation['overread'] ?? operation['count']));
        bytesOf(operation, 'hex').copy(bytes);
        check('result', file!.write(bytes), resultOf(operation));
        return;
      }
      case 'hcall': {
        this.#hcall(operation);
        return;
      }
      case 'access': {
        this.#access(operation);
        return;
      }
      case 'dirtylog':
        vm.getDirtyLog(numberOf(operation, 'slot'));
        return;
      case 'run':
        vm.enterGuest();
        return;
      default:
        throw new Error(`unknown operation ${operation.op}`);
    }
  }

  #hcall(operation: Operation): void {
    const got = this.#vm.hcall(numberOf(operation, 'nr'), (operation['args'] as string[]).map(BigInt));
    const out = operation['out'] as (string | null)[];
    for (const [register, recorded] of out.entries()) {
      if (recorded === null) continue;
      // Beside an r that was not recorded stands the v of an invalid entry, whose top bits are left over on power9.
      const mask = this.#vm.host === 'power9' && out[register + 1] === null ? 2n ** 62n - 1n : 2n ** 64n - 1n;
      this.#comparison.check(`r${register + 3}`, got[register]! & mask, BigInt(recorded) & mask);
    }
  }

  #access(operation: Operation): void {
    const { result } = operation;
    // A fault may be due to the address, which the entry alone does not tell; one of protection is not.
    if (result === 'fault' && (numberOf(operation, 'dsisr') & PROTECTION_FAULT) === 0) {
      return this.#comparison.leaveOut('faults of an address');
    }
    // A vcpu remembers the entry by which an address went to MMIO, and answers from that when it is another by then.
    const page = `${BigInt(textOf(operation, 'ea')) >> 12n} ${String(operation['real'])}`;
    if (result !== 'ok' && this.#mmioPages.has(page))
      return this.#comparison.leaveOut('answers from a vcpu’s MMIO cache');
    if (result === 'mmio') this.#mmioPages.add(page);
    this.#comparison.check(
      'result',
      this.#vm.access(numberOf(operation, 'ptex'), { store: operation['store'] === true }),
      result,
    );
  }
}

/** A call's value, or minus the errno it failed with. */
export async function answerOf(call: Promise<unknown>): Promise<number> {
  try {
    const value = await call;
    return typeof value === 'number' ? value : 0;
  } catch (error) {
    if (error instanceof HtabSystemError) return -error.errno;
    throw error;
  }
}
