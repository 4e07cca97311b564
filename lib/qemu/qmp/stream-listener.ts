import { chown, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isOfEndedProcess, processMark } from '../../base/temporary-file.js';
import { systemCall } from '../../base/system-call.js';
import type { Listener } from '../../transport/listen.js';
import { listen } from '../../transport/transport.js';

/** Longest path of a Unix socket. */
const MAX_PATH_BYTES = 107;
const SOCKET = 'stream';
/** A folder's name tells whose it is. */
const FOLDER = /^\.kvm-htab-(?<mark>[\da-f]{8}-\d+)-\w{6}$/;

/** A socket at which the QEMU of a monitor, and no other user's process, can connect to this one. */
export interface StreamListener extends AsyncDisposable {
  /** As QEMU's `migrate` takes it. */
  readonly uri: string;
  readonly connections: Listener;
}

/**
 * Listens beside a monitor: QEMU may run as another user, or see only a part of the file system, but it can reach the folder
 * in which its own socket is.
 *
 * @throws HtabSystemError if this user may not write there
 */
export async function listenBeside(monitor: string): Promise<StreamListener> {
  const folder = await makeFolder(monitor);
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const uri = `unix:${path.join(folder, SOCKET)}`;
    const connections = await listen(uri);
    await giveTo(monitor, [folder, path.join(folder, SOCKET)]);
    const dispose = async (): Promise<void> => {
      connections.close();
      await remove();
    };
    return { uri, connections, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function makeFolder(monitor: string): Promise<string> {
  const parent = path.dirname(path.resolve(monitor));
  await removeAbandoned(parent);
  const beside = path.join(parent, `.kvm-htab-${processMark()}-`);
  const fits = Buffer.byteLength(path.join(`${beside}XXXXXX`, SOCKET)) <= MAX_PATH_BYTES;
  const prefix = fits ? beside : path.join(tmpdir(), 'kvm-htab-');
  return systemCall(`make a folder for a socket beside ${monitor}`, mkdtemp(prefix));
}

/** Removes what processes that were killed have left. Never rejects: a folder that stays does no harm. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    const { mark } = FOLDER.exec(name)?.groups ?? {};
    if (mark === undefined || !isOfEndedProcess(mark)) continue;
    await rm(path.join(parent, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Lets the user connect whose monitor it is; only root can and must. */
async function giveTo(monitor: string, made: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await systemCall(`look at ${monitor}`, stat(monitor));
  for (const each of made) await systemCall(`give ${each} to user ${uid}`, chown(each, uid, gid));
}
