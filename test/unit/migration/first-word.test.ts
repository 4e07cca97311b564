import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test, vi } from 'vitest';
import { receiveHpt } from '../../../lib/migration/destination.js';
import { sendHpt } from '../../../lib/migration/source.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { bootGuest } from './machines.js';

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
  const onRefused = vi.fn<(reason: unknown) => void>();
  const receiving = receiveHpt(new EmulatedVm(), connections, { onRefused });
  connect(port, '127.0.0.1').resume().end('x'.repeat(100));
  await vi.waitFor(() => {
    expect(onRefused).toHaveBeenCalledOnce();
  });
  connect(port, '127.0.0.1').resume().end();
  await expect(receiving).rejects.toThrow('there are no more connections');
  expect(onRefused.mock.calls.map(([reason]) => (reason as Error).message)).toEqual([
    expect.stringContaining('begins no frame'),
    expect.stringContaining('the connection ended before the peer had said anything'),
  ]);
});

test('what is to be told of them must be a function', async () => {
  const options = { onRefused: 'loudly' } as never;
  await expect(receiveHpt(new EmulatedVm(), new PassThrough(), options)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
  });
});
