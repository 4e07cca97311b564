import { createServer } from 'node:net';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { parseEmulatedSpec } from '../../../lib/cli/table/emulated-spec.js';
import { openForReading, openForWriting } from '../../../lib/cli/table/open.js';
import { placeOf } from '../../../lib/cli/table/place.js';
import { UsageError } from '../../../lib/cli/errors/usage-error.js';
import { HtabUnavailableError } from '../../../lib/base/errors.js';
import { digestTable } from '../../../lib/hpt/digest.js';
import type { TargetTable, SourceTable } from '../../../lib/migration/tables.js';
import { saveSnapshot } from '../../../lib/snapshot/save.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import * as attach from '../../../lib/vm/kvm/attach.js';
import * as handover from '../../../lib/vm/kvm/handover.js';
import { scratchFolder } from '../../scratch.js';

// There is no HTAB descriptor on this machine: an emulated VM stands where the VMM's would.
vi.mock('../../../lib/vm/kvm/handover.js');
vi.mock('../../../lib/vm/kvm/attach.js');

const folder = scratchFolder();

const SPEC = parseEmulatedSpec('', 'source');

let vm: EmulatedVm;
beforeEach(async () => {
  vm = new EmulatedVm();
  await vm.allocateHpt(20);
});
afterEach(() => {
  vi.resetAllMocks();
});

/** What is given for each request, and the text it comes with. */
function answer(text: string, access: HtabHandle['access'] = 'read'): HtabHandle[] {
  const given: HtabHandle[] = [];
  vi.mocked(handover.requestHtab).mockImplementation(async () => {
    const handle = await vm.openHtab({ access });
    given.push(handle);
    return { handle, text } as unknown as handover.ReceivedHtab;
  });
  return given;
}

/** A VMM's control socket that says ok to everything. */
async function listenAsVmm(): Promise<{ readonly at: string; readonly lines: string[] }> {
  const at = path.join(folder, `control-${Math.random().toString(36).slice(2)}`);
  const lines: string[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      lines.push(...chunk.toString().trimEnd().split('\n'));
      socket.write('ok\n');
    });
  }).listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return { at, lines };
}

async function isClosed(handle: HtabHandle): Promise<boolean> {
  return handle.read(new Uint8Array(100)).then(
    () => false,
    (error: unknown) => (error as { state?: unknown }).state === 'closed',
  );
}

describe('where a table is', () => {
  test.each([
    [{}, 'no table given'],
    [{ order: 20 }, 'no table given'],
    [{ htabFd: 3, order: 20, emulated: SPEC }, 'no table given'],
    [{ pid: 1, order: 20 }, '--pid needs --pid-fd'],
    [{ pidFd: 3, order: 20 }, '--pid-fd needs --pid'],
    [{ pidFd: 3, emulated: SPEC }, '--pid-fd needs --pid'],
    [{ vmFd: 3, htabFd: 3, order: 20 }, '--vm-fd needs --attach'],
    [{ attach: 7, htabFd: 3, order: 20 }, 'no table given'],
    [{ htabFd: 3 }, 'need --order'],
    [{ pid: 1, pidFd: 3 }, 'need --order'],
  ])('cannot be told from %j', (options, message) => {
    expect(() => placeOf(options)).toThrow(UsageError);
    expect(() => placeOf(options)).toThrow(message);
  });

  test('is one of five places', () => {
    expect(placeOf({ htabFd: 0, order: 20 })).toEqual({
      kind: 'descriptor',
      pid: undefined,
      fd: 0,
      order: 20,
    });
    expect(placeOf({ pid: 7, pidFd: 4, order: 20 })).toEqual({
      kind: 'descriptor',
      pid: 7,
      fd: 4,
      order: 20,
    });
    expect(placeOf({ htabSocket: '/x', order: 20 })).toEqual({ kind: 'socket', path: '/x', order: 20 });
    expect(placeOf({ htabSocket: '/x' })).toEqual({ kind: 'socket', path: '/x', order: undefined });
    expect(placeOf({ attach: 7, vmFd: 4 })).toEqual({ kind: 'attach', pid: 7, fd: 4, order: undefined });
    expect(placeOf({ emulated: SPEC })).toEqual({ kind: 'emulated', spec: SPEC });
  });
});

describe('a descriptor', () => {
  test('that was inherited is adopted, and is the source or the target it is open for', async () => {
    const reading = await vm.openHtab();
    vi.mocked(handover.adoptHtab).mockResolvedValueOnce(reading as never);
    const source = await openForReading({ htabFd: 3, order: 20 });
    expect(handover.adoptHtab).toHaveBeenCalledWith(3);
    expect(source).toMatchObject({ name: 'descriptor 3', order: 20, control: undefined });
    expect((source.table as SourceTable).handle).toBe(reading);
    await source.close();
    expect(await isClosed(reading)).toBe(true);

    const writing = await vm.openHtab({ access: 'write' });
    vi.mocked(handover.adoptHtab).mockResolvedValueOnce(writing as never);
    const target = await openForWriting({ htabFd: 4, order: 20 });
    expect(target).toMatchObject({ name: 'descriptor 4', order: 20 });
    expect((target.table as TargetTable).openRead).toBeUndefined();
    await target.close();
  });

  test('of another process is taken from it', async () => {
    vi.mocked(handover.takeHtab).mockResolvedValueOnce((await vm.openHtab()) as never);
    const source = await openForReading({ pid: 77, pidFd: 5, order: 20 });
    expect(handover.takeHtab).toHaveBeenCalledWith({ pid: 77, fd: 5 });
    expect(source.name).toBe('descriptor 5 of process 77');
    await source.close();
  });

  test('of a running VMM is opened from outside, for reading only', async () => {
    const handle = (await vm.openHtab()) as never;
    const reopen = Object.assign(vi.fn(), { readOnEntries: 100 });
    const table = { handle, order: 20, fd: 4, reopen, openRead: vi.fn() };
    vi.mocked(attach.attachHtab).mockResolvedValueOnce(table);
    const { signal } = new AbortController();
    const source = await openForReading({ attach: 77, vmFd: 4 }, undefined, signal);
    expect(attach.attachHtab).toHaveBeenCalledWith({ pid: 77, fd: 4, order: undefined, signal });
    expect(source).toMatchObject({ name: 'the VMM of process 77', order: 20, table, control: undefined });
    await source.close();
    expect(await isClosed(handle)).toBe(true);
    await expect(openForWriting({ attach: 77 })).rejects.toBeInstanceOf(UsageError);
  });

  test('is not opened once a signal has ended the wait for a monitor that does not greet', async () => {
    const qmp = path.join(folder, 'silent.qmp');
    const ended = new AbortController();
    const server = createServer(() => {
      ended.abort(new Error('enough'));
    }).listen(qmp);
    await once(server, 'listening');
    await expect(openForReading({ emulated: SPEC, qmp }, undefined, ended.signal)).rejects.toThrow('enough');
    server.close();
  });

  test('of the wrong direction is refused, and closed', async () => {
    const writing = await vm.openHtab({ access: 'write' });
    vi.mocked(handover.adoptHtab).mockResolvedValueOnce(writing as never);
    await expect(openForReading({ htabFd: 3, order: 20 })).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      reason: 'unsupported',
    });
    expect(await isClosed(writing)).toBe(true);
  });

  test('that is none, or that nothing here can handle, is an error: the emulation never steps in', async () => {
    const reason = new Error('no KVM here');
    vi.mocked(handover.adoptHtab).mockRejectedValue(reason);
    await expect(openForReading({ htabFd: 3, order: 20 })).rejects.toBe(reason);
    await expect(openForWriting({ htabFd: 3, order: 20 })).rejects.toBe(reason);
  });
});

describe("a VMM's socket", () => {
  test('gives a source: a descriptor, its order, another one if need be, and control over the guest', async () => {
    const { at, lines } = await listenAsVmm();
    const given = answer('ok 20\n');
    const source = await openForReading({ htabSocket: at }, 5000);
    expect(source).toMatchObject({ name: `the VMM at ${at}`, order: 20 });
    expect(handover.requestHtab).toHaveBeenCalledWith(at, { request: 'open-read\n', timeoutMs: 5000 });
    const table = source.table as SourceTable;
    expect(table).toMatchObject({ handle: given[0], order: 20 });
    expect(await table.reopen!(0)).toBe(given[1]);
    await source.control!.pause();
    await source.control!.resume();
    expect(lines).toEqual(['pause', 'resume']);
    await source.close();
    expect(await isClosed(given[0]!)).toBe(true);
  });

  test('gives another descriptor from any entry on; from the first where it refuses that', async () => {
    const { at } = await listenAsVmm();
    answer('ok 20\n');
    const source = await openForReading({ htabSocket: at }, 5000);
    const requests = (): unknown[] =>
      vi.mocked(handover.requestHtab).mock.calls.map(([, options]) => options!.request);
    const { reopen } = source.table as SourceTable;
    await reopen!(77);
    expect(requests()).toEqual(['open-read\n', 'open-read 77\n']);
    vi.mocked(handover.requestHtab).mockClear();
    vi.mocked(handover.requestHtab).mockRejectedValueOnce(
      new HtabUnavailableError('refused', 'error no such request', 'ask'),
    );
    await reopen!(77);
    expect(requests()).toEqual(['open-read 77\n', 'open-read\n']);
    await source.close();
  });

  test('that says another order for another descriptor has another table by then', async () => {
    const { at } = await listenAsVmm();
    answer('ok 20\n');
    const source = await openForReading({ htabSocket: at }, 5000);
    const given = answer('ok 21\n');
    await expect((source.table as SourceTable).reopen!(0)).rejects.toMatchObject({ state: 'order-changed' });
    expect(await isClosed(given[0]!)).toBe(true);
    await source.close();
  });

  test('gives a target: a descriptor, its order, and one to read it back', async () => {
    const given = answer('ok 20 made anew\n', 'write');
    const target = await openForWriting({ htabSocket: '/vmm', order: 20 }, 5000);
    expect(handover.requestHtab).toHaveBeenCalledWith('/vmm', { request: 'open-write\n', timeoutMs: 5000 });
    const table = target.table as TargetTable;
    expect(table).toMatchObject({ handle: given[0], order: 20 });
    const reading = answer('ok 20\n');
    expect(await table.openRead!()).toBe(reading[0]);
    expect(handover.requestHtab).toHaveBeenLastCalledWith('/vmm', {
      request: 'open-read-next\n',
      timeoutMs: 5000,
    });
    await target.close();
  });

  test.each([
    'ok\n',
    'ok twenty\n',
    'ok 17\n',
    'ok 37\n',
    'ok 20',
    'ok 20\nok 20\n',
    'error 20\n',
    '20\n',
    '',
  ])('that says %j with its descriptor is refused, and the descriptor closed', async (text) => {
    const given = answer(text, 'write');
    await expect(openForWriting({ htabSocket: '/vmm' })).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      message: expect.stringContaining(`answers open-write with ${JSON.stringify(text)}`) as unknown,
    });
    expect(await isClosed(given[0]!)).toBe(true);
  });

  test('with a table of another order than was said, or a descriptor of the wrong direction, is refused', async () => {
    const { at } = await listenAsVmm();
    const given = answer('ok 20\n');
    await expect(openForReading({ htabSocket: at, order: 22 })).rejects.toThrow(
      `the VMM at ${at} has a table of order 20, not 22`,
    );
    await expect(openForWriting({ htabSocket: at })).rejects.toThrow(
      'answers open-write with "ok 20\\n" and a read descriptor',
    );
    expect(await Promise.all(given.map(isClosed))).toEqual([true, true]);
  });

  test('that cannot be connected to is not asked for a table', async () => {
    const given = answer('ok 20\n');
    await expect(openForReading({ htabSocket: path.join(folder, 'nobody') })).rejects.toThrow('ENOENT');
    expect(given).toEqual([]);
  });
});

describe('an emulated VM', () => {
  test('without a word about it has a guest that has worked, and stands still', async () => {
    const source = await openForReading({ emulated: SPEC });
    expect(source).toMatchObject({ name: 'an emulated VM', order: 24, host: 'power9', control: undefined });
    const { table } = source.table as EmulatedVm;
    expect(table!.validCount).toBeGreaterThan(1000);
    await source.close();
  });

  test('is the same for the same seed, and another for another', async () => {
    const digests = await Promise.all(
      ['seed=5', 'seed=5', 'seed=6', 'seed=5,steps=100'].map(async (spec) => {
        const source = await openForReading({ emulated: parseEmulatedSpec(`order=18,${spec}`, 'source') });
        return digestTable((source.table as EmulatedVm).table!);
      }),
    );
    expect(digests[0]).toBe(digests[1]);
    expect(new Set(digests).size).toBe(3);
  });

  test('with a rate has a guest that goes on, and can be stopped', async () => {
    const source = await openForReading({ emulated: parseEmulatedSpec('order=18,rate=100000', 'source') });
    const emulated = source.table as EmulatedVm;
    expect(emulated.runningVcpus).toBe(1);
    await source.control!.pause();
    expect(emulated.runningVcpus).toBe(0);
    await source.control!.resume();
    expect(emulated.runningVcpus).toBe(1);
    await source.close();
    await vi.waitFor(() => {
      expect(emulated.runningVcpus).toBe(0);
    }, 30_000);
  });

  test('takes its table from an image of its memory, or from a snapshot, as it is', async () => {
    const image = Buffer.alloc(1 << 18);
    image.writeBigUInt64BE(0x11n, 16 * 700);
    image.writeBigUInt64BE(0x5190n, 16 * 700 + 8);
    const file = path.join(folder, 'image');
    writeFileSync(file, image);
    const source = await openForReading({ emulated: parseEmulatedSpec(`file=${file}`, 'source') });
    const { table } = source.table as EmulatedVm;
    expect(source.order).toBe(18);
    expect([table!.validCount, table!.get(700)]).toEqual([1, { v: 0x51n, r: 0x5190n }]);

    const snapshot = path.join(folder, 'snapshot');
    const { digest } = await saveSnapshot(source.table as EmulatedVm, snapshot);
    const copy = await openForReading({ emulated: parseEmulatedSpec(`file=${snapshot}`, 'source') });
    expect(digestTable((copy.table as EmulatedVm).table!)).toBe(digest);
    const busy = await openForReading({
      emulated: parseEmulatedSpec(`file=${snapshot},steps=500`, 'source'),
    });
    expect((busy.table as EmulatedVm).table!.validCount).toBeGreaterThan(50);
  });

  test.each([0, 1, (1 << 18) - 16, (1 << 18) + 16, 1 << 17])('takes no image of %i bytes', async (bytes) => {
    const file = path.join(folder, 'odd');
    writeFileSync(file, Buffer.alloc(bytes));
    await expect(openForReading({ emulated: parseEmulatedSpec(`file=${file}`, 'source') })).rejects.toThrow(
      bytes === 0 ? 'it is empty' : `it has ${bytes} bytes; a table has 2^18 to 2^36, a power of two`,
    );
  });

  test('that is a target has no table yet, and takes any', async () => {
    const target = await openForWriting({ emulated: parseEmulatedSpec('host=power8', 'target') });
    expect(target).toMatchObject({ order: undefined, host: 'power8' });
    expect((target.table as EmulatedVm).hptOrder).toBeUndefined();
    await target.close();
  });
});

describe('the spec of an emulated VM', () => {
  test('is a list of keys and values', () => {
    expect(
      parseEmulatedSpec('host=power8,page-shift=12,order=36,seed=4294967295,steps=0,rate=7', 'source'),
    ).toEqual({
      host: 'power8',
      pageShift: 12,
      order: 36,
      file: undefined,
      seed: 4_294_967_295,
      steps: 0,
      rate: 7,
    });
    expect(parseEmulatedSpec('file=/a=b', 'source')).toMatchObject({ file: '/a=b', steps: 0 });
    expect(parseEmulatedSpec('', 'target')).toMatchObject({ host: 'power9', pageShift: 16 });
  });

  test.each([
    ['host=power7', 'host must be power8 or power9.'],
    ['page-shift=14', 'page-shift must be 12 or 16.'],
    ['order=17', 'order must be an integer in 18..36.'],
    ['order=2e1', 'order must be an integer in 18..36.'],
    ['seed=-1', 'seed must be an integer'],
    ['rate=', '"rate=" is not KEY=VALUE'],
    ['fast', '"fast" is not KEY=VALUE with a key of host, page-shift, order'],
    ['constructor=1', '"constructor=1" is not KEY=VALUE'],
    ['file=x,order=20', 'order and file exclude each other'],
    ['order=20,file=x', 'order and file exclude each other'],
  ])('%j is refused', (spec, message) => {
    expect(() => parseEmulatedSpec(spec, 'source')).toThrow(message);
  });

  test.each(['order=20', 'file=x', 'seed=1', 'rate=1'])('of a target has no %s', (spec) => {
    expect(() => parseEmulatedSpec(spec, 'target')).toThrow('with a key of host, page-shift.');
  });
});
