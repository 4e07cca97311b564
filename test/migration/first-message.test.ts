import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test, vi } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { linkStreams } from './harness/linked-streams.js';
import { bootGuest } from './harness/test-guest.js';

test('a channel that could never connect says so', async () => {
  const guest = await bootGuest();
  await expect(sendHpt(guest.vm, connect('/nofile'), guest.options())).rejects.toMatchObject({
    code: 'ERR_HTAB_MIGRATION',
    message: 'the connection failed: connect ENOENT /nofile',
  });
});

test('a destination tells of each connection of a listener that brings no source', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const connections = (async function* () {
    for (let k = 0; k < 2; k++) yield ((await once(server, 'connection')) as [Socket])[0];
  })();
  const onRefused = vi.fn<(reason: unknown, from: string | undefined) => void>();
  const receiving = receiveHpt(new EmulatedVm(), connections, { onRefused });
  connect(port, '127.0.0.1').resume().end('x'.repeat(100));
  await vi.waitFor(() => {
    expect(onRefused).toHaveBeenCalledOnce();
  }, 30_000);
  connect(port, '127.0.0.1').resume().end();
  await expect(receiving).rejects.toThrow('the listener ended before a source connected');
  expect(onRefused.mock.calls.map(([reason]) => (reason as Error).message)).toEqual([
    expect.stringContaining('is not a frame header'),
    expect.stringContaining('the connection ended before the source sent anything'),
  ]);
  expect(onRefused.mock.calls.map(([, from]) => from)).toEqual(['127.0.0.1', '127.0.0.1']);
});

test('one that only answers outcomes tells of each connection that asks for none', async () => {
  const [ours, theirs] = linkStreams();
  const onRefused = vi.fn<(reason: unknown) => void>();
  ours.on('error', () => undefined).write('GET / HTTP/1.1\r\n\r\n');
  const connections = (async function* () {
    yield await Promise.resolve(theirs);
  })();
  await answerOutcomes(new MemoryJournal(), connections, { onRefused });
  expect(onRefused.mock.calls).toEqual([
    [
      expect.objectContaining({ message: expect.stringContaining('is not a frame header') as string }),
      undefined,
    ],
  ]);
});

test.each([[[]], [[12, 13]], [['12']]])('pageShifts of %j are refused', async (pageShifts) => {
  const options = { pageShifts } as never;
  await expect(receiveHpt(new EmulatedVm(), new PassThrough(), options)).rejects.toMatchObject({
    code: 'ERR_OUT_OF_RANGE',
  });
});

test('what is to be told of them must be a function', async () => {
  const options = { onRefused: 'loudly' } as never;
  await expect(receiveHpt(new EmulatedVm(), new PassThrough(), options)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
  });
});
