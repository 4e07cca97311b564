import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { RelayOptions, RelayProgress } from '../../../lib/qemu/relay/relay-options.js';
import type { RelayReport } from '../../../lib/qemu/relay/relay-report.js';
import { footer, htabOf, record, streamOf } from '../stream-writer.js';
import { FakeSource, shut, startRelay, withReturnPath } from './fake-qemus.js';

const IN_DOUBT = { code: 'ERR_HTAB_IN_DOUBT' };
const stream = streamOf(htabOf(record(0, 3)));
const asking = withReturnPath(stream);
/** A stream up to the mark that ends its sections. */
const sectionsOf = (whole: Buffer): Buffer => whole.subarray(0, whole.lastIndexOf(footer(3)) + 6);

interface Migration {
  readonly source: FakeSource;
  /** The destination's end of its connection. */
  readonly target: Socket;
  readonly result: Promise<RelayReport>;
}

/** Passes a stream on, until the destination has it. It answers by hand, also after the source has closed. */
async function passedOn(sent: Buffer, options: RelayOptions = {}): Promise<Migration> {
  const server = createServer({ allowHalfOpen: true });
  onTestFinished(() => {
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connected = once(server, 'connection') as Promise<[Socket]>;
  const to = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let last: RelayProgress | undefined;
  const { address, result } = await startRelay('tcp://127.0.0.1:0', to, {
    ...options,
    onProgress: (progress) => (last = progress),
  });
  const source = new FakeSource(address);
  await source.send(sent);
  const [target] = await connected;
  target.on('error', () => undefined).on('data', () => undefined);
  while (last?.state !== 'handed-over' || target.bytesRead < sent.length) await setImmediate();
  return { source, target, result };
}

describe('a guest that the destination may run', () => {
  test.each(['destroy', 'end', 'resetAndDestroy'] as const)(
    'is in doubt if the source went (%s) before it was told',
    async (end) => {
      const { source, target, result } = await passedOn(asking);
      const ended = once(target, 'end');
      source.socket[end]();
      // The relay has seen it once the destination has.
      await ended;
      target.end(shut(0));
      await expect(result).rejects.toMatchObject(IN_DOUBT);
      await expect(result).rejects.toThrow(/the source had gone before it was told/);
      expect(source.answered.length).toBe(0);
    },
  );

  test.each(['end', 'resetAndDestroy'] as const)(
    'is in doubt if the destination goes (%s) without a word',
    async (end) => {
      const { source, target, result } = await passedOn(asking);
      target[end]();
      await expect(result).rejects.toMatchObject(IN_DOUBT);
      await source.closed;
    },
  );

  test('is in doubt without a return path if the connection to the destination breaks', async () => {
    const { target, result } = await passedOn(stream);
    target.resetAndDestroy();
    await expect(result).rejects.toMatchObject(IN_DOUBT);
    await expect(result).rejects.toThrow(/no return path/);
  });

  test('is not known to run without a return path if the destination has closed', async () => {
    const { target, result } = await passedOn(stream);
    target.end();
    expect(await result).toMatchObject({ acknowledged: false, returnBytes: 0 });
  });

  test('is not ended by a signal once the last mark has gone on, though no description follows', async () => {
    const sections = sectionsOf(asking);
    const over = new AbortController();
    const { source, target, result } = await passedOn(sections, { signal: over.signal });
    over.abort(new Error('too late'));
    target.end(shut(0));
    const { acknowledged, findings, streamBytes, stop } = await result;
    expect({ acknowledged, streamBytes }).toEqual({ acknowledged: true, streamBytes: sections.length });
    expect(findings.map(({ kind }) => kind)).toEqual(['no-description']);
    expect(stop).toBeDefined();
    expect(source.answered).toEqual(shut(0));
  });

  test.each([
    ['of a length beyond reason', '0640000032' + '00'.repeat(50)],
    ['whose mark has a bit flipped', '07000000027b7d'],
    ['that is cut short', '06000000ff7b7d'],
  ])('is not ended by a description %s', async (_title, hex) => {
    const rest = Buffer.from(hex, 'hex');
    const sections = sectionsOf(asking);
    const { source, target, result } = await passedOn(sections);
    await source.send(rest);
    while (target.bytesRead < sections.length + rest.length) await setImmediate();
    target.end(shut(0));
    expect(await result).toMatchObject({
      acknowledged: true,
      streamBytes: sections.length + rest.length,
      findings: [{ kind: 'no-description' }],
    });
    expect(source.answered).toEqual(shut(0));
  });
});
