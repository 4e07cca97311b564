import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { sleep } from '../../lib/base/time.js';
import { MAX_STATE_BYTES } from '../../lib/migration/rest.js';
import { receiveHpt, type ReceiveOptions } from '../../lib/migration/destination/receive.js';
import { sendHpt, type SendOptions } from '../../lib/migration/source/send.js';
import { moveGuest, power8, valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { Network } from './harness/network.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';
import { TestRest } from './harness/test-rest.js';

const R_C = 0x80n;

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a whole guest', () => {
  test('is finished, put together, and runs once the decision stands', async () => {
    const { sent, received, target, guest, rest } = await moveWhole({ stateBytes: 77 });
    expect(valueOf(received).digest()).toBe(valueOf(sent).digest());
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
    expect(rest.calls).toEqual(['finish', 'accept', 'run']);
    expect(rest.accepted).toEqual(new Uint8Array(77).fill(1));
    expect(rest.deadlines).toEqual([120_000]);
  });

  test.each([undefined, 0, 1, 2 ** 20, 2 ** 20 + 1, MAX_STATE_BYTES])(
    'brings a state of %j bytes',
    async (stateBytes) => {
      const { sent, rest } = await moveWhole({ stateBytes });
      expect(valueOf(sent).acknowledged).toBe('directly');
      // Compared whole: a matcher would take minutes to show 16 MiB.
      expect(Buffer.alloc(stateBytes ?? 0, 1).equals(rest.accepted!)).toBe(true);
    },
  );

  test('has the C bits in its table that its last dirty log brings there', async () => {
    const guest = await startGuest(500);
    const rest = new TestRest();
    const finish = async (
      call: Parameters<typeof rest.source.finish>[0],
    ): Promise<Uint8Array | undefined> => {
      // Longer than the last passes: what follows comes after them.
      await sleep(10_000);
      for (const [ptex, { r }] of guest.vm.table!) {
        if ((r & R_C) === 0n) guest.vm.access(ptex, { store: true });
      }
      guest.vm.getDirtyLog(0);
      return rest.source.finish(call);
    };
    const { sent, target } = await moveGuest(guest, {
      send: { rest: { ...rest.source, finish } },
      receive: { rest: rest.destination },
    });
    const { passes } = valueOf(sent);
    expect(passes.at(-2)!.validEntries).toBeGreaterThan(0);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test.each([
    ['the source', { rest: undefined }, {}, 'the source moves its table only'],
    ['the destination', {}, { rest: undefined }, 'the source moves memory and devices too'],
  ])('is refused where %s moves the table alone', async (_, send, receive, message) => {
    const refusals: string[] = [];
    const { sent, received, guest, rest } = await moveWhole(
      {},
      { send, receive: { ...receive, onRefused: (error) => void refusals.push(String(error)) } },
    );
    expect(reasonOf(sent)).toMatchObject({ message: expect.stringContaining(message) as string });
    expect((reasonOf(received) as Error).message).toContain('the listener ended');
    expect(refusals.join()).toContain(message);
    expect(guest.state).toBe('running');
    expect(rest.times('finish')).toBe(0);
  });
});

describe('the rest', () => {
  test.each(['stopMs', 'finish'] as const)('of a source needs the function %s', async (name) => {
    const guest = await startGuest(10);
    const network = new Network();
    const rest = { ...new TestRest().source, [name]: 7 } as unknown as SendOptions['rest'];
    await expect(sendHpt(guest.vm, network.connect, guest.options({ rest }))).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      option: `rest.${name}`,
    });
    expect(network.connections).toBe(0);
  });

  test.each(['accept', 'discard', 'run'] as const)('of a destination needs the function %s', async (name) => {
    const rest = new TestRest();
    const lame = { ...rest.destination, [name]: undefined } as unknown as ReceiveOptions['rest'];
    await expect(receiveHpt(power8(), new Network(), { rest: lame })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      option: `rest.${name}`,
    });
    expect(rest.calls).toEqual([]);
  });

  test('is not discarded for options that are refused', async () => {
    const rest = new TestRest();
    const options = { rest: rest.destination, maxOrder: 99 };
    await expect(receiveHpt(power8(), new Network(), options)).rejects.toThrow(RangeError);
    expect(rest.calls).toEqual([]);
  });

  test.each<[string, unknown, string]>([
    ['a text', 'registers', 'must resolve with a Uint8Array'],
    ['null', null, 'must resolve with a Uint8Array'],
    ['memory that was transferred away', transferred(), 'must resolve with a Uint8Array'],
    [
      'a byte too many',
      new Uint8Array(MAX_STATE_BYTES + 1),
      'gave 16777217 bytes of state; at most 16777216',
    ],
  ])('that gives %s as its state is refused by name', async (_, state, message) => {
    const { source } = new TestRest();
    const finish = (): Promise<Uint8Array> => Promise.resolve(state as Uint8Array);
    const { sent, guest, rest, network } = await moveWhole({}, { send: { rest: { ...source, finish } } });
    expect((reasonOf(sent) as Error).message).toContain(message);
    expect(guest.state).toBe('running');
    expect(network.connections).toBe(1);
    expect(rest.calls).toEqual(['discard']);
  });

  test('may change the memory of its state once it has given it', async () => {
    const rest = new TestRest();
    const state = new Uint8Array(100).fill(7);
    const finish = (): Promise<Uint8Array> => {
      queueMicrotask(() => setImmediate(() => state.fill(9)));
      return Promise.resolve(state);
    };
    const seen: Uint8Array[] = [];
    const accept = (taken: Uint8Array): Promise<void> => {
      seen.push(taken);
      return Promise.resolve();
    };
    const { sent } = await moveWhole(
      {},
      {
        send: { rest: { ...rest.source, finish } },
        receive: { rest: { ...rest.destination, accept, run: () => Promise.resolve() } },
      },
    );
    expect(valueOf(sent).acknowledged).toBe('directly');
    expect(seen).toEqual([new Uint8Array(100).fill(7)]);
  });
});

function transferred(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}
