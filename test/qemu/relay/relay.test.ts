import { describe, expect, test } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import type { RelayProgress } from '../../../lib/qemu/relay/relay-options.js';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { scratchFiles } from '../../scratch.js';
import { expected, fixture } from '../support.js';
import { FakeSource, fakeTarget, pong, shut, startRelay, withReturnPath } from './fake-qemus.js';

const scratch = scratchFiles();
const HASH = 'qemu-10.0.2-p9hash-1g';

describe('a migration that goes through a relay', () => {
  test.each(Object.keys(expected))('of %s arrives byte for byte, and its table is told', async (name) => {
    const stream = fixture(name);
    const target = await fakeTarget(scratch('b'));
    const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
    const source = new FakeSource(address);
    await source.send(stream);
    source.socket.end();
    const report = await result;
    await target.closed;
    expect(target.received().equals(stream)).toBe(true);
    const { table, records } = await readQemuStream(one(stream));
    expect(report).toMatchObject({
      order: expected[name]!.order ?? undefined,
      validEntries: expected[name]!.validEntries,
      streamBytes: stream.length,
      acknowledged: false,
      returnBytes: 0,
      records,
    });
    expect(report.digest()).toBe(table && digestTable(table));
    expect(target.sockets.length).toBe(1);
  });

  test('over TCP passes the return path, and ends when the destination says that it has the guest', async () => {
    const stream = withReturnPath(fixture(HASH));
    const target = await fakeTarget(0, (received, socket) => {
      if (received.length === stream.length) socket.end(shut(0));
      else if (received.length < 100_000) socket.write(pong);
    });
    const states: RelayProgress['state'][] = [];
    const { address, result } = await startRelay('tcp://127.0.0.1:0', target.address, {
      onProgress: ({ state }) => states.push(state),
    });
    const source = new FakeSource(address);
    await source.send(stream, 50_000);
    const report = await result;
    await source.closed;
    expect(report).toMatchObject({ acknowledged: true, returnBytes: source.answered.length });
    expect(source.answered.subarray(-8).equals(shut(0))).toBe(true);
    expect([...new Set(states)]).toEqual(['copying', 'judged', 'handed-over']);
    expect(report.stop!.tableBytes).toBeGreaterThan(0);
    expect(report.stop!.stopBytes).toBeGreaterThan(report.stop!.tableBytes);
    expect(report.stop!.stopMs).toBeGreaterThanOrEqual(report.stop!.tableMs);
  });

  test('in pieces of any length is the same', async () => {
    const stream = fixture('qemu-7.2.22-tcg-1g').subarray();
    const target = await fakeTarget(scratch('b'));
    const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
    const source = new FakeSource(address);
    for (let at = 0, length = 1; at < stream.length; at += length, length = (length * 7 + 3) % 4096) {
      if (!source.socket.write(stream.subarray(at, at + length))) await source.send(Buffer.alloc(0));
    }
    source.socket.end();
    expect(await result).toMatchObject({ validEntries: 17_026 });
    expect(target.received().equals(stream)).toBe(true);
  });
});

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
