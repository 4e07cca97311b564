import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { relayMigration } from '../../../lib/qemu/relay/relay.js';
import { connect, listen } from '../../../lib/transport/transport.js';
import { scratchFiles } from '../../scratch.js';
import {
  HTAB,
  RAM,
  configuration,
  footer,
  header,
  htabOf,
  name,
  ramBlock,
  record,
  startPart,
  streamOf,
  u32,
  u64,
} from '../stream-writer.js';
import { FakeSource, fakeTarget, shut, startRelay, withReturnPath } from './fake-qemus.js';

const scratch = scratchFiles();
const stream = withReturnPath(streamOf(htabOf(record(0, 3))));
/** Where the mark stands that ends the sections. */
const end = stream.lastIndexOf(footer(3)) + 5;
const places = ['unix', 'tcp'] as const;
const fromOf = (place: (typeof places)[number]): string =>
  place === 'unix' ? `unix:${scratch('a')}` : 'tcp://127.0.0.1:0';
const toOf = (place: (typeof places)[number]): string | number => (place === 'unix' ? scratch('b') : 0);

/** Offsets from the first byte to the last, closer together where the guest changes hands. */
const cuts = [
  0,
  3,
  4,
  8,
  20,
  100,
  150,
  200,
  250,
  300,
  ...Array.from({ length: 12 }, (_, k) => stream.length - k),
];

for (const place of places) {
  test.each(cuts)(
    `a source that dies at byte %i of a relay over ${place} leaves no half of it behind`,
    async (cut) => {
      const target = await fakeTarget(toOf(place));
      const { address, result } = await startRelay(fromOf(place), target.address, {
        signal: AbortSignal.timeout(60_000),
      });
      const source = new FakeSource(address);
      if (cut < 4) {
        source.socket.end(stream.subarray(0, cut));
        await source.closed;
        // It was no migration yet: another one may come.
        expect(target.sockets.length).toBe(0);
        const second = new FakeSource(address);
        second.socket.end(stream);
        while (target.received().length < stream.length)
          await new Promise((resolve) => setImmediate(resolve));
      } else if (cut < stream.length) {
        source.socket.write(stream.subarray(0, cut));
        while (target.received().length < cut) await new Promise((resolve) => setImmediate(resolve));
        if (cut % 2 === 0) source.socket.destroy();
        else source.socket.end();
      } else {
        source.socket.end(stream);
      }
      const error: unknown = await result.catch((reason: unknown) => reason);
      await target.closed;
      // The destination may run the guest from the mark after the devices on; it said nothing, and the source has gone.
      const doubtful = cut < 4 || cut > end;
      expect((error as { code?: string }).code).toBe(doubtful ? 'ERR_HTAB_IN_DOUBT' : 'ERR_HTAB_MIGRATION');
    },
  );

  test.each(cuts)(
    `a destination that dies at byte %i of a relay over ${place} ends the source`,
    async (cut) => {
      const target = await fakeTarget(toOf(place), (received, socket) => {
        if (received.length >= cut) socket.destroy();
      });
      const { address, result } = await startRelay(fromOf(place), target.address);
      const source = new FakeSource(address);
      // Less is no migration yet. What is on its way when the destination dies may have reached it.
      const sent = Math.max(cut, 4);
      await source.send(stream.subarray(0, sent));
      await expect(result).rejects.toMatchObject({
        code: sent > end ? 'ERR_HTAB_IN_DOUBT' : 'ERR_HTAB_MIGRATION',
      });
      await source.closed;
      expect(source.answered.length).toBe(0);
    },
  );
}

test('a destination that says that it failed fails the relay', async () => {
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === stream.length) socket.end(shut(1));
  });
  const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
  const source = new FakeSource(address);
  await source.send(stream);
  await expect(result).rejects.toThrow(/could not load the guest/);
  await source.closed;
  expect(source.answered.equals(shut(1))).toBe(true);
});

test('what follows the end of the sections is passed on, also if it cannot be read', async () => {
  const rest = Buffer.from('06ffffffff7b7d', 'hex');
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === end + 1 + rest.length) socket.end(shut(0));
  });
  const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
  const source = new FakeSource(address);
  await source.send(stream.subarray(0, end + 1));
  while (target.received().length <= end) await new Promise((resolve) => setImmediate(resolve));
  await source.send(rest);
  expect(await result).toMatchObject({ acknowledged: true });
  expect(target.received().subarray(end + 1)).toEqual(rest);
  await source.closed;
  expect(source.answered).toEqual(shut(0));
});

test('of a destination that takes nothing a relay keeps little in memory, until a signal ends it', async () => {
  const page = Buffer.concat([u64(0x8), name('ppc_spapr.ram'), Buffer.alloc(4096)]);
  const begun = [
    ...[header, configuration('pseries-10.0'), startPart(RAM, 'ram', ramBlock(2 ** 30), 4)],
    ...[startPart(HTAB, 'spapr/htab', u32(18)), Buffer.concat([Buffer.of(2), u32(RAM)])],
  ];
  let readBytes = 0;
  const source = new Duplex({
    read() {
      const next = begun.shift() ?? page;
      readBytes += next.length;
      this.push(next);
    },
    write(_chunk, _encoding, done) {
      done();
    },
  });
  let written = 0;
  const target = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer) => void (written += chunk.length),
  });
  const over = new AbortController();
  const result = relayMigration(only(source), () => Promise.resolve(target), { signal: over.signal });
  result.catch(() => undefined);
  // Each turn it could take more.
  for (let turn = 0; turn < 5000; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(written).toBeGreaterThan(0);
  expect(readBytes).toBeLessThan(1 << 20);
  const reason = new Error('enough');
  over.abort(reason);
  await expect(result).rejects.toBe(reason);
  expect([source.destroyed, target.destroyed]).toEqual([true, true]);
});

async function* only(socket: Duplex): AsyncGenerator<Duplex> {
  yield await Promise.resolve(socket);
}

test('a destination that is not there ends the source', async () => {
  const { address, result } = await startRelay(`unix:${scratch('a')}`, `unix:${scratch('nobody')}`);
  const source = new FakeSource(address);
  await source.send(stream);
  await expect(result).rejects.toMatchObject({ code: 'ERR_HTAB_SYSTEM', syscall: 'connect' });
  await source.closed;
});

test('a signal ends both connections, but not once the destination may have the guest', async () => {
  const early = new AbortController();
  const target = await fakeTarget(scratch('b'));
  const first = await startRelay(`unix:${scratch('a')}`, target.address, { signal: early.signal });
  const source = new FakeSource(first.address);
  await source.send(stream.subarray(0, 200));
  while (target.received().length < 200) await new Promise((resolve) => setImmediate(resolve));
  early.abort(new Error('enough'));
  await expect(first.result).rejects.toThrow('enough');
  await Promise.all([source.closed, target.closed]);

  const late = new AbortController();
  const slow = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length < stream.length) return;
    late.abort(new Error('too late'));
    setImmediate(() => socket.end(shut(0)));
  });
  const second = await startRelay(`unix:${scratch('a')}`, slow.address, { signal: late.signal });
  await new FakeSource(second.address).send(stream);
  expect(await second.result).toMatchObject({ acknowledged: true });
});

test('a listener that closes before a migration comes ends the relay', async () => {
  const listener = await listen(`unix:${scratch('a')}`);
  const result = relayMigration(listener, () => Promise.reject(new Error('not called')));
  listener.close();
  await expect(result).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'closed' });
});

test('a listener serves one relay, and a second one is told to listen again', async () => {
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === stream.length) socket.end(shut(0));
  });
  const listener = await listen(`unix:${scratch('a')}`);
  const openTarget = (): ReturnType<typeof connect> => connect(target.address);
  const first = relayMigration(listener, openTarget);
  await new FakeSource(listener.address).send(stream);
  expect(await first).toMatchObject({ acknowledged: true });
  await expect(relayMigration(listener, openTarget)).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_STATE', state: 'closed' },
    message: expect.stringContaining('listen again') as string,
  });
  listener.close();
});
