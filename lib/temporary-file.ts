import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';

/** What a file is for while it has no name of its own. */
export type TemporaryKind = 'tmp' | 'next';

const NAME = /^\.kvm-htab-(?<host>.+)-(?<pid>\d+)-[\da-f]{8}\.(?<kind>tmp|next)$/;

/** A name in this folder for a file that is being written; it tells whose it is. */
export function temporaryName(folder: string, kind: TemporaryKind): string {
  return path.join(folder, `.kvm-htab-${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}.${kind}`);
}

/** Files that processes of this machine have begun, and can never finish: they have ended. */
export async function abandonedFiles(folder: string, kind: TemporaryKind): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => isAbandoned(name, kind)).map((name) => path.join(folder, name));
}

/** Never rejects: what cannot be removed is in nobody's way. */
export async function removeFiles(files: readonly string[]): Promise<void> {
  for (const file of files) await rm(file, { force: true }).catch(() => undefined);
}

function isAbandoned(name: string, wanted: TemporaryKind): boolean {
  const { host, pid, kind } = NAME.exec(name)?.groups ?? {};
  return kind === wanted && host === hostname() && !isRunning(Number(pid));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as somebody else.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
