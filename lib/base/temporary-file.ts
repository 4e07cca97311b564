import { createHash, randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';

/** `.` what for `-` host `-` process `-` any `.tmp`: it tells whose it is. */
const NAME = /^\.(?<purpose>.+)-(?<pid>\d+)-[\da-f]{8}\.tmp$/;

/**
 * A path in this folder for a file that is being written, and will get another name.
 *
 * @param purpose what for: files of one purpose are cleaned up together
 */
export function temporaryPath(folder: string, purpose: string): string {
  return path.join(folder, `.${mine(purpose)}-${process.pid}-${randomUUID().slice(0, 8)}.tmp`);
}

/** Files of this purpose that processes of this machine have begun, and can never finish: they have ended. */
export async function abandonedFiles(folder: string, purpose: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => isAbandoned(name, purpose)).map((name) => path.join(folder, name));
}

/** Never rejects: a file that cannot be removed does no harm. */
export async function removeFiles(files: readonly string[]): Promise<void> {
  for (const file of files) await rm(file, { force: true }).catch(() => undefined);
}

/** `machine-process` in few bytes, of this process: for the name of what {@link isOfEndedProcess} may tell to be abandoned. */
export function processMark(): string {
  return `${machineMark()}-${process.pid}`;
}

/** Whether a mark is of a process of this machine that has ended. */
export function isOfEndedProcess(mark: string): boolean {
  const [machine, pid] = mark.split('-');
  return machine === machineMark() && !isRunning(Number(pid));
}

function machineMark(): string {
  return createHash('sha256').update(mine('')).digest('hex').slice(0, 8);
}

/** Whose process numbers say something here: containers of one host have their own. */
function mine(purpose: string): string {
  return `${purpose}-${hostname()}-${processNamespace()}`;
}

function processNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
  } catch {
    return '';
  }
}

function isAbandoned(name: string, wanted: string): boolean {
  const { purpose, pid } = NAME.exec(name)?.groups ?? {};
  return purpose === mine(wanted) && !isRunning(Number(pid));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
