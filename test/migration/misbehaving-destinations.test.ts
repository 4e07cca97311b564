import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { HtabError } from '../../lib/base/errors.js';
import type { Message } from '../../lib/migration/wire/messages.js';
import { encodeFrame } from '../../lib/migration/wire/protocol.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { linkStreams } from './harness/linked-streams.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';

const DIGEST = '00'.repeat(32);

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a source', () => {
  /** What the source makes of a destination that answers each message as told. */
  async function against(
    answer: (message: string, sequence: number) => Message | undefined,
    source?: HtabVm,
  ): Promise<{ error: HtabError; pauses: number; resumes: number }> {
    const [channel, theirs] = linkStreams();
    const guest = await startGuest(100);
    theirs.on('error', () => undefined);
    let sent = 0;
    let received = 0;
    const { payloadOf } = answering();
    theirs.on('data', (chunk: Buffer) => {
      for (const type of payloadOf(chunk)) {
        const message = answer(type, received++);
        if (message === undefined) continue;
        const { header, payload } = encodeFrame(message, sent++);
        theirs.write(Buffer.concat([header, payload]));
      }
    });
    const sending = Promise.allSettled([sendHpt(source ?? guest.vm, channel, guest.options({}, 0))]);
    const [result] = await settleInFakeTime(sending);
    expect(channel.destroyed).toBe(true);
    return { error: reasonOf(result) as HtabError, pauses: guest.pauses, resumes: guest.resumes };
  }

  /** Cuts a byte stream into frames; gives the number of each frame's type. */
  function answering(): { payloadOf: (chunk: Buffer) => string[] } {
    let rest = Buffer.alloc(0);
    return {
      payloadOf: (chunk) => {
        rest = Buffer.concat([rest, chunk]);
        const types: string[] = [];
        while (rest.length >= 16 && rest.length >= 16 + rest.readUInt32BE(4)) {
          types.push(
            ['', 'hello', '', 'pass-begin', 'data', '', 'pass-end', 'prepare', '', 'commit'][rest[2]!] ?? '',
          );
          rest = rest.subarray(16 + rest.readUInt32BE(4));
        }
        return types;
      },
    };
  }

  const good = (type: string, sequence: number): Message | undefined => {
    if (type === 'hello') return { type: 'welcome', backend: 'emulated', host: null, readBack: true };
    return type === 'data' || type === 'pass-end' ? { type: 'applied', sequence } : undefined;
  };

  test('does not send a real guest to an emulated table', async () => {
    const { vm } = await startGuest(0);
    const real: HtabVm = Object.defineProperty(vm, 'backend', { value: 'kvm' });
    const { error, pauses } = await against(good, real);
    expect(error.message).toBe("the destination's table is emulated; a guest of a kvm VM cannot run there");
    expect(pauses).toBe(0);
  });

  test('gives up when the destination has applied something else than it was sent', async () => {
    const { error } = await against((type, sequence) =>
      type === 'data' ? { type: 'applied', sequence: sequence + 1 } : good(type, sequence),
    );
    expect(error.message).toContain('where applied for frame 2 was due');
  });

  test('does not repeat the bytes that a destination sends it', async () => {
    const { error } = await against((type, sequence) =>
      type === 'data' ? { type: 'data', records: new Uint8Array(1 << 20) } : good(type, sequence),
    );
    expect(error.message).toBe('the destination sent data where applied for frame 2 was due');
  });

  test('gives up when the destination says what nobody asked', async () => {
    const { error, resumes } = await against((type, sequence) =>
      type === 'pass-begin' ? { type: 'committed' } : good(type, sequence),
    );
    expect(error).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(error.message).toContain('the destination sent committed where');
    expect(resumes).toBe(0);
  });

  test('does not commit to a destination whose table has another digest', async () => {
    const said: string[] = [];
    const { error, pauses, resumes } = await against((type, sequence) => {
      said.push(type);
      return type === 'prepare' ? { type: 'prepared', digest: DIGEST } : good(type, sequence);
    });
    expect(error).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect(said).not.toContain('commit');
    expect([pauses, resumes]).toEqual([1, 1]);
  });

  test('does not wait for ever for a destination that says nothing more', async () => {
    const { error, resumes } = await against((type, sequence) =>
      type === 'prepare' ? undefined : good(type, sequence),
    );
    expect(error.message).toBe('no data from the destination for 30000 ms');
    expect(resumes).toBe(1);
  });

  test('does not wait for ever for a destination that takes nothing more', async () => {
    const [channel, theirs] = linkStreams();
    theirs.on('error', () => undefined);
    const guest = await startGuest(100);
    channel.write(Buffer.alloc(1 << 20));
    const [result] = await settleInFakeTime(
      Promise.allSettled([sendHpt(guest.vm, channel, guest.options())]),
    );
    expect((reasonOf(result) as Error).message).toBe('no data from the destination for 30000 ms');
    expect(channel.destroyed).toBe(true);
  });
});
