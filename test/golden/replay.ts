import { readFileSync, readdirSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { HtabSystemError } from '../../lib/errors.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../lib/vm/emulated/htab-file.js';

const DATA = new URL('data/', import.meta.url);

/** One recorded operation; its fields are described in data/README.md. */
export type Operation = Readonly<Record<string, unknown>> & { readonly op: string };

/** What a recording's replay found. */
export interface Replay {
  /** Operations whose outcome was compared. */
  compared: number;
  /** The first few differences, in words. */
  readonly mismatches: string[];
}

/** Names of the recordings of a kind. */
export function recordings(kind: 'random' | 'scripted'): string[] {
  return readdirSync(DATA)
    .filter((name) => name.startsWith(`${kind}-`))
    .sort();
}

export function readRecording(name: string): Operation[] {
  const text = brotliDecompressSync(readFileSync(new URL(name, DATA))).toString();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Operation);
}

const number = (operation: Operation, field: string): number => Number(operation[field]);
const text = (operation: Operation, field: string): string => String(operation[field] ?? '');

/** What a recorded call returned, as the emulated kernel returns it: a value, or minus the errno. */
function recordedResult(operation: Operation): number {
  return number(operation, 'ret') < 0 ? -number(operation, 'errno') : number(operation, 'ret');
}

async function errnoOf(call: Promise<unknown>): Promise<number> {
  try {
    const value = await call;
    return typeof value === 'number' ? value : 0;
  } catch (error) {
    if (error instanceof HtabSystemError) return -error.errno;
    throw error;
  }
}

/** Replays random sequences: every read's bytes, every return value, errno and register. */
export async function replayRandom(operations: readonly Operation[]): Promise<Replay> {
  const replay: Replay = { compared: 0, mismatches: [] };
  let vm = new EmulatedVm();
  let host = 'power9';
  let where = '';
  const files = new Map<number, HtabFile>();
  const mmioPages = new Set<string>();
  const check = (line: number, operation: Operation, got: unknown, want: unknown): void => {
    replay.compared++;
    if (got !== want) {
      replay.mismatches.push(`${where} line ${line} ${operation.op}: got ${String(got)}, recorded ${String(want)}`);
    }
  };
  for (const [line, operation] of operations.entries()) {
    const file = files.get(number(operation, 'fd'));
    switch (operation.op) {
      case 'vm': {
        for (const open of files.values()) open.release();
        files.clear();
        mmioPages.clear();
        host = text(operation, 'cpu');
        where = `seed ${text(operation, 'seed')}`;
        const regions = operation['memoryRegions'] as {
          guestAddress: string;
          size: string;
          hostPageShift: number;
          populated: boolean;
        }[];
        vm = new EmulatedVm({
          host: host === 'power8' ? 'power8' : 'power9',
          pageShift: number(operation, 'pageShift'),
          memoryRegions: regions.map((region) => ({
            ...region,
            guestAddress: BigInt(region.guestAddress),
            size: BigInt(region.size),
          })),
        });
        break;
      }
      case 'allocate':
        check(line, operation, vm.allocateUnguarded(number(operation, 'order')), recordedResult(operation));
        break;
      case 'prepare':
        check(line, operation, await errnoOf(vm.prepareHptResize(number(operation, 'shift'))), recordedResult(operation));
        break;
      case 'commit':
        check(line, operation, await errnoOf(vm.commitHptResize(number(operation, 'shift'))), recordedResult(operation));
        break;
      case 'open': {
        const opened = vm.openFile(number(operation, 'flags'), number(operation, 'start'));
        check(line, operation, typeof opened === 'number' ? opened : 0, recordedResult(operation));
        if (typeof opened !== 'number') files.set(number(operation, 'fd'), opened);
        break;
      }
      case 'close':
        file!.release();
        files.delete(number(operation, 'fd'));
        break;
      case 'read': {
        const buffer = new Uint8Array(number(operation, 'count'));
        const bytes = file!.read(buffer);
        check(line, operation, bytes, recordedResult(operation));
        if (bytes >= 0) check(line, operation, Buffer.from(buffer.subarray(0, bytes)).toString('hex'), operation['hex']);
        break;
      }
      case 'write': {
        // The kernel took bytes behind the buffer, which were zero: given here as part of it.
        const length = Number(operation['overread'] ?? operation['count']);
        const bytes = new Uint8Array(length);
        bytes.set(Buffer.from(text(operation, 'hex'), 'hex'));
        check(line, operation, file!.write(bytes), recordedResult(operation));
        break;
      }
      case 'hcall': {
        const args = (operation['args'] as string[]).map(BigInt);
        const got = vm.hcall(number(operation, 'nr'), args);
        const out = operation['out'] as (string | null)[];
        for (const [register, want] of out.entries()) {
          if (want === null) continue;
          // Beside an r that was not recorded stands the v of an invalid entry, whose top bits are left over on power9.
          const mask = host === 'power9' && out[register + 1] === null ? 0x3fffffffffffffffn : 0xffffffffffffffffn;
          check(line, operation, `r${register + 3} ${(got[register]! & mask).toString(16)}`, `r${register + 3} ${(BigInt(want) & mask).toString(16)}`);
        }
        break;
      }
      case 'access': {
        // A fault may be due to the address, which the entry alone does not tell; one of protection is not.
        const protection = (Number(operation['dsisr'] ?? 0) & 0x08000000) !== 0;
        if (operation['result'] === 'fault' && !protection) break;
        // A vcpu remembers the entry by which an address went to MMIO, and answers from that when it is another by then.
        const page = `${BigInt(text(operation, 'ea')) >> 12n} ${String(operation['real'])}`;
        if (operation['result'] !== 'ok' && mmioPages.has(page)) break;
        if (operation['result'] === 'mmio') mmioPages.add(page);
        check(line, operation, vm.access(number(operation, 'ptex'), { store: operation['store'] === true }), operation['result']);
        break;
      }
      case 'dirtylog':
        vm.getDirtyLog(number(operation, 'slot'));
        break;
      case 'run':
        vm.enterGuest();
        break;
      case 'end':
        break;
      default:
        throw new Error(`unknown operation ${operation.op}`);
    }
    if (replay.mismatches.length >= 20) break;
  }
  return replay;
}
