import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt } from '../../../lib/migration/destination/receive.js';
import { encodeFrame } from '../../../lib/migration/wire/protocol.js';
import { settleInFakeTime, useFakeTime } from '../harness/test-guest.js';
import { power8 } from '../harness/move-guest.js';
import { Network } from '../harness/network.js';
import { send } from './small-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('peers that do not say what they want', () => {
  test('give way, the oldest first, so that a source gets in however many there are', async () => {
    const network = new Network();
    const refused: string[] = [];
    const onRefused = (reason: unknown): void => void refused.push((reason as Error).message);
    const receiving = receiveHpt(power8(), network, { onRefused });
    const silent: Duplex[] = [];
    for (let count = 0; count < 1000; count++) {
      silent.push((await network.connect()).on('error', () => undefined).resume());
    }
    const [sent, received] = await settleInFakeTime(Promise.all([send(network, 1), receiving]));
    expect([received.digest(), sent.attempts]).toEqual([sent.digest(), 1]);
    // 512 at the most, the source among them.
    expect(refused).toEqual(Array<string>(489).fill('the connection was idle, and 512 newer ones wait'));
    expect(silent.map(({ destroyed }) => destroyed).indexOf(false)).toBe(489);
  });

  test('are told apart from one that has begun to speak', async () => {
    const network = new Network();
    const receiving = receiveHpt(power8(), network);
    const speaks = (await network.connect()).on('error', () => undefined).resume();
    speaks.write('K');
    for (let count = 0; count < 600; count++) (await network.connect()).on('error', () => undefined).resume();
    await settleInFakeTime(new Promise((resolve) => setImmediate(resolve)));
    expect(speaks.destroyed).toBe(false);
    await settleInFakeTime(Promise.all([send(network, 1), receiving]));
  });

  test.each<[string, (channel: Duplex, second: number) => void]>([
    ['says nothing', () => undefined],
    ['sends a byte a second', (channel) => void channel.write('K')],
    [
      'sends heartbeats only',
      (channel, second) => {
        const { header, payload } = encodeFrame({ type: 'heartbeat' }, second);
        channel.write(Buffer.concat([header, payload]));
      },
    ],
  ])('keep a connection no longer than timeoutMs where one %s', async (_, act) => {
    const network = new Network();
    const refused: unknown[] = [];
    const stop = new AbortController();
    const receiving = receiveHpt(power8(), network, {
      ...{ timeoutMs: 5000, signal: stop.signal },
      onRefused: (reason) => void refused.push(reason),
    });
    const channel = (await network.connect()).on('error', () => undefined).resume();
    for (let second = 0; second < 8 && !channel.destroyed; second++) {
      act(channel, second);
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(channel.destroyed).toBe(true);
    expect(refused).toHaveLength(1);
    stop.abort(new Error('enough'));
    await expect(settleInFakeTime(receiving)).rejects.toThrow('enough');
  });

  test('get no memory for records', async () => {
    const network = new Network();
    const refused: unknown[] = [];
    const receiving = receiveHpt(power8(), network, { onRefused: (reason) => void refused.push(reason) });
    const channel = (await network.connect()).on('error', () => undefined).resume();
    const [beat, data] = [
      encodeFrame({ type: 'heartbeat' }, 0),
      encodeFrame({ type: 'data', records: Buffer.alloc(1 << 20) }, 1),
    ];
    channel.write(Buffer.concat([beat.header, beat.payload, data.header]));
    await settleInFakeTime(vi.waitUntil(() => refused.length > 0));
    expect((refused[0] as Error).message).toBe('data came before any other message');
    await settleInFakeTime(Promise.all([send(network, 1), receiving]));
  });

  test('go soon after the last receiver, and hold no process', async () => {
    const network = new Network();
    const receiving = receiveHpt(power8(), network);
    const silent = (await network.connect()).on('error', () => undefined).resume();
    await settleInFakeTime(Promise.all([send(network, 1), receiving]));
    await vi.advanceTimersByTimeAsync(1000);
    expect(silent.destroyed).toBe(true);
  });
});
