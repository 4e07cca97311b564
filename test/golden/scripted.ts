import { constants } from 'node:os';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { HtabFile } from '../../lib/vm/emulated/htab-file.js';
import { answerOf } from './random.js';
import { Comparison, type Operation, bytesOf, numberOf, resultOf, textOf } from './recording.js';

const { ENOMEM } = constants.errno;

/** Replays recorded fixed cases. Those of the file descriptor itself (poll, stat, dup ...) have no counterpart here. */
export async function replayScripted(operations: readonly Operation[]): Promise<Comparison> {
  const comparison = new Comparison();
  const pageShift = pageShiftOf(operations);
  let current: Case | undefined;
  for (const [line, operation] of operations.entries()) {
    comparison.place = `${textOf(operation, 'case')} line ${line} ${operation.op}`;
    if (operation.op === 'begin') current = new Case(operation, pageShift, comparison);
    else await current?.replay(operation);
  }
  return comparison;
}

/** log2 of the host's page size, which the recorder asked for at its start. */
function pageShiftOf(operations: readonly Operation[]): number {
  const caps = operations.find(({ op }) => op === 'caps');
  if (caps === undefined) throw new Error('the recording has no "caps", which holds the host\'s page size');
  return Math.log2(numberOf(caps, 'page_size'));
}

/** One recorded VM with one write descriptor and one or more read descriptors. */
class Case {
  readonly #vm: EmulatedVm;
  readonly #comparison: Comparison;
  readonly #name: string;
  readonly #readers: HtabFile[] = [];
  #writer: HtabFile | undefined;
  #last: HtabFile | undefined;
  /** In the case of two readers the first one reads up to the recorder's note. */
  #noted = false;

  constructor(begin: Operation, pageShift: number, comparison: Comparison) {
    this.#comparison = comparison;
    this.#name = textOf(begin, 'case');
    const size = BigInt(numberOf(begin, 'memslot_bytes'));
    this.#vm = new EmulatedVm({
      host: begin['cpu'] === 'powernv8' ? 'power8' : 'power9',
      pageShift,
      // Where the host's pages are 64K, the recorder's memory lay in transparent huge pages of 16M.
      memoryRegions:
        size === 0n
          ? []
          : [{ guestAddress: 0n, size, hostPageShift: pageShift === 16 ? 24 : pageShift, populated: true }],
    });
    const order = numberOf(begin, 'order');
    const result = resultOf(begin, 'alloc_ret', 'alloc_errno');
    // How large a table the host had memory for is not the kernel's rule.
    if (result === -ENOMEM) comparison.leaveOut('allocations beyond the host’s memory');
    else if (order !== 0) comparison.check('allocate', this.#vm.allocateUnguarded(order), result);
    if (this.#name === 'run-split-headers') this.#fill();
  }

  async replay(operation: Operation): Promise<void> {
    const check = this.#comparison.check.bind(this.#comparison);
    const vm = this.#vm;
    switch (operation.op) {
      case 'get_htab_fd': {
        const flags = numberOf(operation, 'flags');
        const opened = vm.openFile(flags, numberOf(operation, 'start_index'));
        check('result', opened instanceof HtabFile, operation['ok']);
        if (typeof opened === 'number') {
          check('errno', -opened, numberOf(operation, 'errno'));
          return;
        }
        this.#last = opened;
        if ((flags & 2) !== 0) this.#writer = opened;
        else this.#readers.push(opened);
        return;
      }
      case 'read': {
        const buffer = Buffer.alloc(numberOf(operation, 'bufsize'));
        const bytes = this.#reader.read(buffer);
        check('result', bytes, resultOf(operation));
        check('bytes', buffer.toString('hex', 0, Math.max(0, bytes)), textOf(operation, 'hex'));
        return;
      }
      case 'write': {
        check('result', this.#writer!.write(writtenBytes(operation)), resultOf(operation));
        return;
      }
      case 'fd-probe':
        check('read', this.#last!.read(new Uint8Array(64)), resultOf(operation, 'read64_ret', 'read_errno'));
        {
          check(
            'write',
            this.#last!.write(new Uint8Array(8)),
            resultOf(operation, 'write8zero_ret', 'write_errno'),
          );
          return;
        }
      case 'allocate_htab': {
        check('result', vm.allocateUnguarded(numberOf(operation, 'order')), resultOf(operation));
        return;
      }
      case 'resize_prepare': {
        check(
          'result',
          await answerOf(vm.prepareHptResize(numberOf(operation, 'shift'))),
          resultOf(operation),
        );
        return;
      }
      case 'resize_commit': {
        check(
          'result',
          await answerOf(vm.commitHptResize(numberOf(operation, 'shift'))),
          resultOf(operation),
        );
        return;
      }
      case 'read-headers': {
        this.#readHeaders(operation);
        return;
      }
      case 'writev': {
        check('result', this.#writev(numberOf(operation, 'ret') > 0), resultOf(operation));
        return;
      }
      case 'note':
        this.#noted = true;
        return;
      default: {
        this.#comparison.leaveOut(operation.op);
        return;
      }
    }
  }

  /** The kernel takes each piece of a writev(2) as a write of its own; its bytes were not recorded, but are read back. */
  #writev(cutBetweenRecords: boolean): number {
    const records = Buffer.from(
      '030000000100000000000000000010010000000000001012' + '040000000100000000000000000020010000000000002012',
      'hex',
    );
    const cut = cutBetweenRecords ? 24 : 8;
    const first = this.#writer!.write(records.subarray(0, cut));
    return first < cut ? first : first + this.#writer!.write(records.subarray(cut));
  }

  /** The recorder filled this case's table without recording it: entry i of order 22 maps page i to page i. */
  #fill(): void {
    const writer = this.#vm.openFile(2, 0) as HtabFile;
    const record = Buffer.alloc(8 + 4096 * 16);
    for (let first = 0; first < 262_144; first += 4096) {
      record.writeUInt32LE(first, 0);
      record.writeUInt16LE(4096, 4);
      for (let entry = 0; entry < 4096; entry++) {
        const page = BigInt(first + entry) << 12n;
        record.writeBigUInt64BE(page | 1n, 8 + entry * 16);
        record.writeBigUInt64BE(page | 0x12n, 16 + entry * 16);
      }
      this.#comparison.check('fill', writer.write(record), record.length);
    }
  }

  #readHeaders(operation: Operation): void {
    const recorded = operation['calls'] as { ret: number; recs: number[][] }[];
    const buffer = Buffer.alloc(numberOf(operation, 'bufsize'));
    const calls: { ret: number; recs: number[][] }[] = [];
    let count = 0;
    for (let bytes = 1; bytes > 0; count++) {
      bytes = this.#reader.read(buffer);
      const recs: number[][] = [];
      for (let at = 0; at < bytes; at += 8 + buffer.readUInt16LE(at + 4) * 16) {
        recs.push([buffer.readUInt32LE(at), buffer.readUInt16LE(at + 4), buffer.readUInt16LE(at + 6)]);
      }
      // The recorder wrote down the first dozen and the last.
      if (count < 12 || bytes === 0) calls.push({ ret: bytes, recs });
    }
    this.#comparison.check('headers', JSON.stringify(calls), JSON.stringify(recorded));
    this.#comparison.check('number of reads', count, numberOf(operation, 'ncalls'));
  }

  get #reader(): HtabFile {
    const first = this.#name === 'r-two-fds-share-dirty' && !this.#noted;
    return first ? this.#readers[0]! : this.#readers.at(-1)!;
  }
}

/** What a write gave the kernel, with the bytes that it took beyond the buffer (kernel-abi.md 0, trap 2). */
function writtenBytes(operation: Operation): Uint8Array {
  const beyond = Math.max(0, resultOf(operation) - numberOf(operation, 'count'));
  return Buffer.concat([
    bytesOf(operation, 'hex'),
    bytesOf(operation, 'bytes_after_count').subarray(0, beyond),
  ]);
}
