import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { HtabUnavailableError } from '../../lib/base/errors.js';
import { type Addon, type Descriptor, loadAddon } from '../../lib/vm/kvm/addon.js';

/**
 * The addon, or undefined with a line that says why; `KVM_HTAB_REQUIRE_NATIVE=1` (CI) makes that a failure.
 *
 * The real C++ is tested on any Linux over stand-ins: a FIFO, whose reads wait until they are given something, a plain
 * file, and /dev/full, which refuses every write.
 */
export function addonIfBuilt(): Addon | undefined {
  try {
    return loadAddon();
  } catch (error) {
    if (!(error instanceof HtabUnavailableError) || process.env['KVM_HTAB_REQUIRE_NATIVE'] === '1')
      throw error;
    process.stderr.write(`skipping the native tests: ${error.message}\n`);
    return undefined;
  }
}

/** The addon's file, for tests that load it in a thread or a process of their own. */
export function addonFile(): string {
  const find = createRequire(import.meta.url)('node-gyp-build') as { path(folder: string): string };
  return find.path(path.resolve(import.meta.dirname, '../..'));
}

/** A folder for one test file, removed after it. */
export function scratchFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-'));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  return folder;
}

/** Both ends of a FIFO: `descriptor` is the addon's, and `fd`, a number, the test's. */
export interface Fifo extends Disposable {
  readonly file: string;
  readonly descriptor: Descriptor;
  readonly fd: number;
}

let fifoCount = 0;

/** @param flags further open(2) flags of the addon's end, such as O_NONBLOCK */
export async function openFifo(addon: Addon, folder: string, flags = 0): Promise<Fifo> {
  const file = path.join(folder, `fifo-${(fifoCount += 1)}`);
  execFileSync('mkfifo', [file]);
  // Both ends are opened for both directions: opening one direction waits for the other end.
  const fd = openSync(file, constants.O_RDWR);
  const descriptor = await addon.adopt(openSync(file, constants.O_RDWR | flags), false);
  return {
    file,
    descriptor,
    fd,
    [Symbol.dispose]: () => {
      closeSync(fd);
    },
  };
}

/** A file, opened and adopted. */
export const adoptFile = (addon: Addon, file: string, flags: string): Promise<Descriptor> =>
  addon.adopt(openSync(file, flags), false);

/** The descriptor numbers of this process behind which one of these files is open. */
export function numbersOf(...files: string[]): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      try {
        return files.includes(readlinkSync(`/proc/self/fd/${fd}`));
      } catch {
        return false; // the descriptor that listed the folder
      }
    });
}

/** Whether a descriptor of this process is closed by exec: O_CLOEXEC among the octal flags of /proc. */
export function isCloseOnExec(fd: number): boolean {
  const [, flags = ''] = /^flags:\t([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
  return (parseInt(flags, 8) & 0o2000000) !== 0;
}

/** @returns the array, whose memory is gone */
export function transferAway(bytes: Uint8Array): Uint8Array {
  structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] });
  return bytes;
}
