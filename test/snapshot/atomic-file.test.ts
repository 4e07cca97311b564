import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
  readlinkSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { AtomicFile } from '../../lib/snapshot/atomic-file.js';
import { scratchFolder } from '../scratch.js';

const root = scratchFolder();
const newFolder = (): string => mkdtempSync(path.join(root, 'folder-'));

/** What all file handles of this process share: where their calls can be made to fail. */
const probe = await open('/dev/null', 'r');
const FileHandlePrototype = Object.getPrototypeOf(probe) as FileHandle;
await probe.close();

type Method = (this: FileHandle, ...args: unknown[]) => Promise<unknown>;

function methodOf(name: 'write' | 'sync'): Method {
  return Reflect.get(FileHandlePrototype, name) as unknown as Method;
}

function refusal(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: refused, ${syscall}`), { code, syscall, errno: -1 });
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** Whose process numbers say something here. */
const HERE = `${hostname()}-${readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')}`;

describe('AtomicFile', () => {
  test('gives the file its name, its bytes and a mode for its owner alone on commit', async () => {
    const folder = newFolder();
    const name = path.join(folder, 'table');
    const file = await AtomicFile.create(name);
    await file.write(Buffer.from('all '));
    await file.write(Buffer.from('of it'));
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^\.kvm-htab-.+-[0-9a-f]{8}\.tmp$/)]);
    await file.commit();
    await file.discard();
    expect(readdirSync(folder)).toEqual(['table']);
    expect(readFileSync(name, 'utf8')).toBe('all of it');
    expect(statSync(name).mode & 0o777).toBe(0o600);
  });

  test('rejects with the reason of its signal, also where the disk hangs', async () => {
    const folder = newFolder();
    const controller = new AbortController();
    const file = await AtomicFile.create(path.join(folder, 'table'), controller.signal);
    vi.spyOn(FileHandlePrototype, 'sync').mockReturnValue(new Promise(() => undefined));
    const committing = file.commit();
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(committing).rejects.toBe(reason);
    await file.discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('keeps the old file until the commit, and after a discard', async () => {
    const folder = newFolder();
    const name = path.join(folder, 'table');
    writeFileSync(name, 'before');
    const left = await AtomicFile.create(name);
    await left.write(Buffer.from('half'));
    expect(readFileSync(name, 'utf8')).toBe('before');
    await left.discard();
    await left.discard();
    expect(readdirSync(folder)).toEqual(['table']);
    expect(readFileSync(name, 'utf8')).toBe('before');

    const done = await AtomicFile.create(name);
    await done.write(Buffer.from('after'));
    await done.commit();
    expect(readFileSync(name, 'utf8')).toBe('after');
  });

  test('removes temporary files of killed processes, and no other file, when it begins', async () => {
    const folder = newFolder();
    const dead = spawnSync('true').pid;
    const leave = (purpose: string, host: string, pid: number): string => {
      const name = `.${purpose}-${host}-${pid}-0123abcd.tmp`;
      writeFileSync(path.join(folder, name), 'part of a table');
      return name;
    };
    leave('kvm-htab', HERE, dead);
    const others = [
      leave('kvm-htab', HERE, process.ppid),
      leave('kvm-htab', `not-${HERE}`, dead),
      leave('another', HERE, dead),
    ];
    writeFileSync(path.join(folder, 'own'), '');
    const file = await AtomicFile.create(path.join(folder, 'table'));
    const ours = readdirSync(folder).filter((name) => name.includes(`-${process.pid}-`));
    expect(ours.length).toBe(1);
    expect(readdirSync(folder).sort()).toEqual([...others, ...ours, 'own'].sort());
    await file.discard();
  });

  test('follows a symbolic link to the file that it replaces', async () => {
    const folder = newFolder();
    mkdirSync(path.join(folder, 'real'));
    const real = path.join(folder, 'real', 'table');
    writeFileSync(real, 'before');
    symlinkSync(real, path.join(folder, 'link'));
    const file = await AtomicFile.create(path.join(folder, 'link'));
    await file.commit();
    expect(readFileSync(real, 'utf8')).toBe('');
    expect(readdirSync(folder).sort()).toEqual(['link', 'real']);
  });

  test.each(['/dev/null', root])('refuses to replace %s, which is not a regular file', async (name) => {
    await expect(AtomicFile.create(name)).rejects.toThrow(TypeError);
    expect(statSync(name).isFile()).toBe(false);
  });

  test('rejects where the folder does not exist', async () => {
    const folder = newFolder();
    await expect(AtomicFile.create(path.join(folder, 'no', 'table'))).rejects.toMatchObject({
      code: 'ERR_HTAB_SYSTEM',
      errnoName: 'ENOENT',
      syscall: 'open',
      operation: `write the snapshot ${path.join(folder, 'no', 'table')}`,
    });
    writeFileSync(path.join(folder, 'file'), '');
    await expect(AtomicFile.create(path.join(folder, 'file', 'table'))).rejects.toMatchObject({
      errnoName: 'ENOTDIR',
    });
  });

  test('rejects where the folder is not writable', async () => {
    const folder = path.join(newFolder(), 'closed');
    mkdirSync(folder, 0o500);
    // root may write anywhere.
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65_534);
    try {
      await expect(AtomicFile.create(path.join(folder, 'table'))).rejects.toMatchObject({
        errnoName: 'EACCES',
      });
    } finally {
      if (root) process.seteuid?.(0);
    }
  });

  test('writes all bytes although each write(2) takes only some', async () => {
    const name = path.join(newFolder(), 'table');
    const write = methodOf('write');
    vi.spyOn(FileHandlePrototype, 'write').mockImplementation(function (
      this: FileHandle,
      bytes: string | Uint8Array,
      offset?: unknown,
    ) {
      return write.call(this, bytes, offset, Math.min(3, bytes.length - (offset as number))) as never;
    });
    const file = await AtomicFile.create(name);
    await file.write(Buffer.from('0123456789'));
    await file.commit();
    expect(readFileSync(name, 'utf8')).toBe('0123456789');
  });

  test.each([
    ['write', 'ENOSPC'],
    ['write', 'EDQUOT'],
    ['sync', 'EIO'],
  ] as const)('leaves no file after a %s that fails with %s, and says what to do', async (call, code) => {
    const folder = newFolder();
    const name = path.join(folder, 'table');
    writeFileSync(name, 'before');
    const file = await AtomicFile.create(name);
    vi.spyOn(FileHandlePrototype, call).mockRejectedValueOnce(refusal(code, call));
    const error: unknown = await (async () => {
      await file.write(Buffer.from('bytes'));
      await file.commit();
    })().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HtabSystemError);
    expect(error).toMatchObject({ errnoName: code, syscall: call, cause: { code } });
    expect((error as HtabSystemError).hint).toBeDefined();
    await file.discard();
    expect(readdirSync(folder)).toEqual(['table']);
    expect(readFileSync(name, 'utf8')).toBe('before');
  });

  test('keeps a folder, and its files, that took the name before the commit', async () => {
    const folder = newFolder();
    const name = path.join(folder, 'table');
    const file = await AtomicFile.create(name);
    mkdirSync(name);
    await expect(file.commit()).rejects.toMatchObject({ errnoName: 'EISDIR', syscall: 'rename' });
    await file.discard();
    expect(readdirSync(folder)).toEqual(['table']);
    expect(statSync(name).isDirectory()).toBe(true);
  });

  test('passes errors that are not system errors on unchanged', async () => {
    const file = await AtomicFile.create(path.join(newFolder(), 'table'));
    const error = new Error('something else');
    vi.spyOn(FileHandlePrototype, 'sync').mockRejectedValueOnce(error);
    await expect(file.commit()).rejects.toBe(error);
    await file.discard();
  });

  test('syncs the bytes before the rename, and the folder before the commit resolves', async () => {
    const folder = newFolder();
    const calls: string[] = [];
    const sync = methodOf('sync');
    vi.spyOn(FileHandlePrototype, 'sync').mockImplementation(async function (this: FileHandle) {
      const what = (await this.stat()).isDirectory() ? 'folder' : 'file';
      calls.push(`${what}, ${readdirSync(folder).includes('table') ? 'named' : 'not named'}`);
      await sync.call(this);
    });
    const file = await AtomicFile.create(path.join(folder, 'table'));
    await file.commit();
    expect(calls).toEqual(['file, not named', 'folder, named']);
  });
});
