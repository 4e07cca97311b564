import { setTimeout as delay } from 'node:timers/promises';
import { SeededRandom } from '../../lib/base/random.js';
import type { HtabHandle, HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { createHashVm } from './conformance.js';
import type { Host } from './host.js';
import { type Operation, randomProgram } from './lockstep-program.js';
import type { Test } from './runner.js';

const PROGRAM_LENGTH = 250;
/** Programs that run side by side: while one waits for the kernel, another's answers are compared. */
const LANES = 4;
const FILL = 0xa5;
/** Runs of a failing program with parts left out, to find what matters. */
const SHRINK_RUNS = 300;

/**
 * Random programs, run by the real kernel and by the emulation: every byte read, return value and errno must be equal.
 *
 * @param seed of the first program; those after it count on
 * @param operations how many at least, over all programs
 */
export function lockstepSuite(test: Test, host: Host, seed: number, operations: number): void {
  const programs = Math.ceil(operations / PROGRAM_LENGTH);
  test(
    `${programs} random programs from seed ${seed} are answered alike by kernel and emulation`,
    async (t) => {
      let begun = 0;
      let done = 0;
      const lane = async (): Promise<void> => {
        while (begun < programs) {
          t.signal.throwIfAborted();
          const number = seed + begun++;
          const program = randomProgram(new SeededRandom(number), PROGRAM_LENGTH, modesOf(host));
          const difference = await firstDifference(program, host);
          if (difference !== undefined) {
            begun = programs; // the other lanes end
            throw new Error(await report(number, program, difference, host));
          }
          if (++done % 20 === 0) t.note(`${done * PROGRAM_LENGTH} operations in lockstep`);
        }
      };
      await Promise.all(Array.from({ length: LANES }, lane));
      t.note(`seeds ${seed} to ${seed + programs - 1}: ${done * PROGRAM_LENGTH} operations, 0 mismatches`);
    },
    { timeoutMs: 60_000 + operations * 60 },
  );
}

/** What a guest's MMU may be asked to become. POWER8 refuses both; the emulation has no hash host's word about radix. */
function modesOf({ processor, mmu }: Host): readonly ('hash' | 'radix')[] {
  return processor === 'power9' && mmu === 'hash' ? ['hash'] : ['hash', 'hash', 'radix'];
}

/** What the two answered differently, and at which operation; undefined if nothing. */
async function firstDifference(program: readonly Operation[], host: Host): Promise<string | undefined> {
  await using pair = new Pair(await createHashVm(host), host);
  for (const [step, operation] of program.entries()) {
    const [real, emulated] = await pair.run(operation);
    if (real !== emulated) return `operation ${step}: the kernel ${real}, the emulation ${emulated}`;
  }
  return undefined;
}

async function report(
  seed: number,
  program: readonly Operation[],
  difference: string,
  host: Host,
): Promise<string> {
  const { shortest, difference: last } = await shrink(program, difference, host);
  const lines = shortest.map((operation, step) => `${step}: ${JSON.stringify(operation)}`);
  return [`seed ${seed}: ${difference}`, `shrunk to ${shortest.length}: ${last}`, ...lines].join('\n');
}

/** Leaves out what the difference does not need: halves, quarters, and so on down to single operations. */
async function shrink(
  program: readonly Operation[],
  difference: string,
  host: Host,
): Promise<{ shortest: readonly Operation[]; difference: string }> {
  let shortest = program;
  let last = difference;
  let runs = 0;
  for (let size = Math.ceil(program.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length && runs < SHRINK_RUNS; runs++) {
      const candidate = [...shortest.slice(0, at), ...shortest.slice(at + size)];
      const found = await firstDifference(candidate, host);
      if (found === undefined) at += size;
      else {
        shortest = candidate;
        last = found;
      }
    }
  }
  return { shortest, difference: last };
}

/** What both VMs can be asked. */
interface LockstepVm extends HtabVm {
  configureMmu(mode: 'hash' | 'radix'): Promise<void>;
}

/** A VM of each, with the same handles open on both. */
class Pair implements AsyncDisposable {
  readonly #vms: readonly [LockstepVm, LockstepVm];
  readonly #handles = new Map<number, readonly [HtabHandle, HtabHandle]>();

  constructor(real: LockstepVm, { processor, pageShift }: Host) {
    this.#vms = [real, new EmulatedVm({ host: processor, pageShift, memoryRegions: [] })];
  }

  /** Does the same to both; what each answered, as text. An operation on a handle that is not open is left out. */
  async run(operation: Operation): Promise<readonly [string, string]> {
    const [real, emulated] = this.#vms;
    switch (operation.op) {
      case 'allocate':
        return both(this.#vms, (vm) => vm.allocateHpt(operation.order));
      case 'configure':
        return both(this.#vms, (vm) => vm.configureMmu(operation.mode));
      case 'prepare':
        return both(this.#vms, (vm) => prepare(vm, operation.order));
      case 'commit': {
        const answer = await outcome(emulated.commitHptResize(operation.order));
        if (answer.includes('would-crash')) {
          // The real kernel would crash; it only forgets what was prepared, as the emulation has done.
          await real.prepareHptResize(0);
          return [answer, answer];
        }
        return [await outcome(real.commitHptResize(operation.order)), answer];
      }
      case 'open':
        return this.#open(operation);
    }
    const handles = this.#handles.get(operation.handle);
    if (handles === undefined) return ['', ''];
    switch (operation.op) {
      case 'close':
        this.#handles.delete(operation.handle);
        return both(handles, (handle) => handle.close());
      case 'read':
        return readBoth(handles, operation.bytes);
      case 'write':
        return both(handles, (handle) => handle.write(Buffer.from(operation.hex, 'hex')));
      case 'writeRecords':
        return both(handles, (handle) => handle.writeRecords(Buffer.from(operation.hex, 'hex')));
    }
  }

  async #open(operation: Operation & { readonly op: 'open' }): Promise<readonly [string, string]> {
    const [real, emulated] = this.#vms;
    const { handle, access, boltedOnly, startIndex } = operation;
    const options = { access, boltedOnly, startIndex };
    this.#handles.set(handle, [await real.openHtab(options), await emulated.openHtab(options)]);
    return ['', ''];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const handles of this.#handles.values()) await both(handles, (handle) => handle.close());
    await both(this.#vms, (vm) => vm.close());
  }
}

async function both<T>(
  [real, emulated]: readonly [T, T],
  run: (each: T) => Promise<unknown>,
): Promise<readonly [string, string]> {
  // At the same time: the kernel works on another thread.
  return Promise.all([outcome(run(real)), outcome(run(emulated))]);
}

/** Compares whole buffers, also what the read left alone. */
async function readBoth(
  handles: readonly [HtabHandle, HtabHandle],
  bytes: number,
): Promise<readonly [string, string]> {
  const buffers = [Buffer.alloc(bytes, FILL), Buffer.alloc(bytes, FILL)] as const;
  const [real, emulated] = await both(handles, (handle) =>
    handle.read(buffers[handle === handles[0] ? 0 : 1]),
  );
  if (buffers[0].equals(buffers[1])) return [real, emulated];
  return [`${real}: ${render(buffers[0])}`, `${emulated}: ${render(buffers[1])}`];
}

/** The bytes without the fill at their end. */
function render(buffer: Buffer): string {
  let end = buffer.length;
  while (end > 0 && buffer[end - 1] === FILL) end--;
  return buffer.toString('hex', 0, end);
}

/** The first answer, and the one at which the preparation has settled: how long it takes is the machine's affair. */
async function prepare(vm: HtabVm, order: number): Promise<string> {
  const first = await vm.prepareHptResize(order);
  let settled = first;
  while (settled > 0) {
    await delay(1);
    settled = await vm.prepareHptResize(order);
  }
  return `${first} then ${settled}`;
}

/** What a call came to: its value, or what its error tells a program. */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    return `answered ${String(await call)}`;
  } catch (error) {
    const { name, code, errnoName, syscall, state, ptex, recordIndex, bytesApplied } = error as Record<
      string,
      unknown
    >;
    return `refused ${JSON.stringify({ name, code, errnoName, syscall, state, ptex, recordIndex, bytesApplied })}`;
  }
}
