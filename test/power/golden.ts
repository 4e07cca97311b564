import assert from 'node:assert/strict';
import { HtabSystemError } from '../../lib/base/errors.js';
import { MAX_ORDER, MIN_ORDER } from '../../lib/hpt/geometry.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import {
  type Operation,
  Comparison,
  bytesOf,
  numberOf,
  readRecording,
  resultOf,
  textOf,
} from '../golden/recording.js';
import type { Host } from './host.js';
import type { Test } from './runner.js';

/** Operations that can be repeated through handles. A case with any other (poll, writev, dup ...) is left out. */
const REPEATABLE = new Set([
  'begin',
  'get_htab_fd',
  'read',
  'write',
  'allocate_htab',
  'resize_prepare',
  'resize_commit',
  'note',
  'caps',
  'end',
]);
/** The largest table that memory is there for; beyond it ENOMEM is a matter of luck. */
const LARGEST_ORDER = 24;

/** What earlier kernels answered to fixed cases must be answered still. */
export function goldenSuite(test: Test, { processor, pageShift }: Host): void {
  const name = {
    power8: 'scripted-p8-linux6.1.176-64k.jsonl.br',
    // Without memory behind the table a radix host answers as a hash host does.
    power9:
      pageShift === 12
        ? 'scripted-p9-radixhost-linux6.12.107-4k.jsonl.br'
        : 'scripted-p9-hashhost-linux6.1.176-64k.jsonl.br',
  }[processor];
  test(`the fixed cases of ${name} that need no guest`, async (t) => {
    const comparison = new Comparison();
    let cases = 0;
    for (const operations of casesOf(readRecording(name))) {
      if (!isRepeatable(operations)) {
        comparison.leaveOut('cases');
        continue;
      }
      await using replay = new CaseReplay(await KvmVm.create(), comparison);
      for (const operation of operations) await replay.run(operation);
      cases++;
    }
    t.note(`${cases} cases of ${comparison.summary(name)}`);
    assert.deepEqual(comparison.mismatches, []);
    assert.ok(cases > 100 && comparison.compared > 1000);
  });
}

function casesOf(operations: readonly Operation[]): Operation[][] {
  const cases: Operation[][] = [];
  for (const operation of operations) {
    if (operation.op === 'begin') cases.push([]);
    cases.at(-1)?.push(operation);
  }
  return cases;
}

function isRepeatable(operations: readonly Operation[]): boolean {
  const begin = operations[0]!;
  const order = numberOf(begin, 'order');
  return (
    numberOf(begin, 'memslot_bytes') === 0 &&
    (order === 0 || (order >= MIN_ORDER && order <= LARGEST_ORDER)) &&
    operations.every(
      (operation) =>
        REPEATABLE.has(operation.op) &&
        // Refused before the kernel is asked: it would free the table.
        !(operation.op === 'allocate_htab' && numberOf(operation, 'order') > MAX_ORDER) &&
        // The contract has no words for flags that do not exist.
        !(operation.op === 'get_htab_fd' && numberOf(operation, 'flags') > 3),
    )
  );
}

/** One recorded VM with its descriptors. */
class CaseReplay implements AsyncDisposable {
  readonly #vm: KvmVm;
  readonly #comparison: Comparison;
  readonly #readers: HtabHandle[] = [];
  readonly #writers: HtabHandle[] = [];
  /** In the case of two readers the first one reads up to the recorder's note. */
  #firstReads = false;

  constructor(vm: KvmVm, comparison: Comparison) {
    this.#vm = vm;
    this.#comparison = comparison;
  }

  async run(operation: Operation): Promise<void> {
    this.#comparison.place = `${textOf(operation, 'case')} ${operation.op}`;
    const vm = this.#vm;
    switch (operation.op) {
      case 'begin':
        this.#firstReads = textOf(operation, 'case') === 'r-two-fds-share-dirty';
        if (numberOf(operation, 'order') > 0) await vm.allocateHpt(numberOf(operation, 'order'));
        return;
      case 'note':
        this.#firstReads = false;
        return;
      case 'get_htab_fd':
        return this.#open(numberOf(operation, 'flags'), numberOf(operation, 'start_index'));
      case 'read':
        return this.#read(operation);
      case 'write':
        return this.#check(operation, this.#writers.at(-1)!.write(writtenBytes(operation)));
      case 'allocate_htab':
        return this.#check(operation, vm.allocateHpt(numberOf(operation, 'order')));
      case 'resize_prepare':
        return this.#check(operation, this.#prepare(operation));
      case 'resize_commit':
        return this.#check(operation, vm.commitHptResize(numberOf(operation, 'shift')));
    }
  }

  async #open(flags: number, startIndex: number): Promise<void> {
    const access = (flags & 2) === 0 ? 'read' : 'write';
    const handle = await this.#vm.openHtab({ access, boltedOnly: (flags & 1) !== 0, startIndex });
    (access === 'read' ? this.#readers : this.#writers).push(handle);
  }

  async #read(operation: Operation): Promise<void> {
    const reader = this.#firstReads ? this.#readers[0]! : this.#readers.at(-1)!;
    const buffer = Buffer.alloc(numberOf(operation, 'bufsize'));
    await this.#check(operation, reader.read(buffer));
    const length = Math.max(0, resultOf(operation));
    this.#comparison.check('bytes', buffer.toString('hex', 0, length), textOf(operation, 'hex'));
  }

  /** The recorder asked again once the table was ready, however long that took. */
  async #prepare(operation: Operation): Promise<number> {
    let result: number;
    do {
      result = await this.#vm.prepareHptResize(numberOf(operation, 'shift'));
    } while (result > 0 && resultOf(operation) === 0);
    return result;
  }

  async #check(operation: Operation, call: Promise<unknown>): Promise<void> {
    const result = await call.then(
      (value) => (typeof value === 'number' ? value : 0),
      (error: unknown) => {
        if (error instanceof HtabSystemError) return -error.errno;
        throw error;
      },
    );
    this.#comparison.check('result', result, resultOf(operation));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const handle of [...this.#readers, ...this.#writers]) await handle.close();
    await this.#vm.close();
  }
}

/** The bytes given to write(2), in memory that holds behind them what the recorder had there (kernel-abi.md 0, trap 2). */
function writtenBytes(operation: Operation): Uint8Array {
  const bytes = bytesOf(operation, 'hex');
  return Buffer.concat([bytes, bytesOf(operation, 'bytes_after_count')]).subarray(0, bytes.length);
}
