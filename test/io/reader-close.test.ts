import { describe, expect, test } from 'vitest';
import { HptReader } from '../../lib/io/reader.js';
import { gate, settle } from './gate.js';
import { readPass } from './pass-headers.js';
import { tenEntries } from './ten-entries.js';

describe('abort and close of HptReader', () => {
  test('waits for the read in flight after an abort, rejects with its reason and keeps the records', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { startIndex: 100 });
    const held = gate();
    vm.gate = held.promise;
    const controller = new AbortController();
    const reason = { why: 'the operator' };
    const next = reader.pass({ signal: controller.signal }).next();
    await settle();
    let settled = false;
    const watched = next.catch(() => undefined).then(() => (settled = true));
    controller.abort(reason);
    await settle();
    expect(settled).toBe(false);
    held.open();
    await expect(next).rejects.toBe(reason);
    await watched;
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('starts no read with an aborted signal', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    const signal = AbortSignal.abort();
    await expect(reader.pass({ signal }).next()).rejects.toBe(signal.reason);
    expect(vm.handles[0]!.reads).toBe(0);
  });

  test('refuses a second pass while one runs, and does not disturb the first', async () => {
    await using reader = await HptReader.open(tenEntries());
    const first = reader.pass();
    const next = first.next();
    await expect(reader.pass().next()).rejects.toMatchObject({ state: 'busy' });
    expect((await next).done).toBe(false);
    expect((await first.next()).done).toBe(true);
  });

  test('waits in close for the read in flight, and settles the pass that awaits it', async () => {
    const vm = tenEntries();
    const reader = await HptReader.open(vm);
    const held = gate();
    vm.gate = held.promise;
    const next = reader.pass().next();
    const outcome = next.catch((error: unknown) => error);
    await settle();
    const closing = reader.close();
    await settle();
    expect(vm.handles[0]).toMatchObject({ inFlight: 1, closed: false });
    held.open();
    await closing;
    expect(await outcome).toMatchObject({ state: 'closed' });
    expect(vm.handles[0]).toMatchObject({ inFlight: 0, closed: true });
  });

  test('begins no pass after close', async () => {
    const reader = await HptReader.open(tenEntries());
    await reader.close();
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'closed' });
  });

  test('rejects with closed after close, also when a pass was abandoned', async () => {
    const reader = await HptReader.open(tenEntries(), { bufferBytes: 41 });
    await reader.pass().next();
    await reader.close();
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'closed' });
  });
});
