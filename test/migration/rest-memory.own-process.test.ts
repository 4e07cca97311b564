import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { MAX_STATE_BYTES } from '../../lib/migration/rest.js';
import type { Message } from '../../lib/migration/wire/messages.js';
import { encodeFrame, hello } from '../../lib/migration/wire/protocol.js';
import { power8 } from './harness/move-guest.js';
import { Network } from './harness/network.js';
import { ORDER, reasonOf } from './harness/test-guest.js';

const ATTEMPTS = 8;
const FRAME = new Uint8Array(2 ** 20);
const FRAMES = MAX_STATE_BYTES / FRAME.length;
/** The state that is being taken, twice while it grows or is handed over, and that of a call that goes on. */
const ALLOWED_BYTES = 6 * MAX_STATE_BYTES;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const RECORDS = Buffer.from('000000000100ff3f00000000000000510000000000000190', 'hex');
const sum = createHash('sha256').update(RECORDS);
for (let frame = 0; frame < FRAMES; frame++) sum.update(FRAME);
const PREPARE: Message = {
  type: 'prepare',
  digest: sum.digest('hex'),
  validEntries: 1,
  stateBytes: MAX_STATE_BYTES,
};

function attemptOf(attempt: number): Message[] {
  const table = { order: ORDER, headerByteOrder: 'LE', backend: 'emulated', host: 'power8' } as const;
  return [
    hello({ migrationId: 'test', attempt, ...table }, ['rest']),
    { type: 'pass-begin', pass: 1 },
    { type: 'data', records: RECORDS },
    { type: 'pass-end', pass: 1, validEntries: 1, invalidEntries: 16_383, bytes: 24 },
    ...Array.from({ length: FRAMES }, (): Message => ({ type: 'state', bytes: FRAME })),
    PREPARE,
  ];
}

test('a destination keeps one state or two, however many its source sends and whatever its agent makes of them', async () => {
  const network = new Network();
  const interrupt = new AbortController();
  const ended = new AbortController();
  let accepts = 0;
  const rest = {
    // The first one goes on, and all others wait for its end.
    accept: async () => {
      accepts++;
      await once(ended.signal, 'abort');
    },
    discard: () => Promise.resolve(),
    run: () => Promise.reject(new Error('it runs')),
  };
  const options = { rest, signal: interrupt.signal, guestTimeoutMs: 600_000, reconnectMs: 600_000 };
  const receiving = Promise.allSettled([receiveHpt(power8(), network, options)]);
  collect();
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const channel = await network.connect();
    channel.on('error', () => undefined);
    channel.resume();
    for (const [sequence, message] of attemptOf(attempt).entries()) {
      const { header, payload } = encodeFrame(message, sequence);
      await new Promise((resolve) => channel.write(Buffer.concat([header, payload]), resolve));
    }
    do await sleep(20);
    while (accepts === 0);
    collect();
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  interrupt.abort(new Error('enough'));
  ended.abort();
  const [received] = await receiving;
  expect(reasonOf(received)).toMatchObject({ message: 'enough' });
  console.log(`${ATTEMPTS} states of 16 MiB: at most ${most >> 20} MiB more than before`);
  expect(accepts).toBe(1);
  expect(most).toBeLessThan(ALLOWED_BYTES);
});
