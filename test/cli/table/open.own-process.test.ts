import { createServer } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { parseEmulatedSpec } from '../../../lib/cli/table/emulated-spec.js';
import { openForReading, openForWriting } from '../../../lib/cli/table/open.js';
import { UsageError } from '../../../lib/cli/errors/usage-error.js';
import { HtabUnavailableError } from '../../../lib/base/errors.js';
import type { TargetTable, SourceTable } from '../../../lib/migration/tables.js';
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
