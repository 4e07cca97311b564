import { describe, expect, test } from 'vitest';
import {
  MAX_STATE_BYTES,
  type DestinationRest,
  type RestCall,
  type SourceRest,
} from '../../lib/migration/rest.js';
import { requestDestinationRest, requestSourceRest } from '../../lib/migration/vmm-rest.js';
import { scratchFiles } from '../scratch.js';
import { startVmm, type TestVmm, type VmmRequest } from '../test-vmm.js';

const scratch = scratchFiles();
const UNKNOWN = 'error no such request\n';

/** A VMM with these answers, by the first word of a request. */
function vmmWith(answers: Readonly<Record<string, string | Buffer | undefined>>): Promise<TestVmm> {
  return startVmm(scratch('vmm'), ({ line }) => {
    const [name] = line.split(' ', 1);
    return name! in answers ? answers[name!] : UNKNOWN;
  });
}

function restCall(controller = new AbortController()): RestCall & { deadlineMs: number } {
  return { signal: controller.signal, migrationId: 'm-1', deadlineMs: 120_000 };
}

const source = async (at: string): Promise<SourceRest> => (await requestSourceRest(at))!;
const destination = async (at: string): Promise<DestinationRest> => (await requestDestinationRest(at))!;

describe("the rest of a VMM's guest", () => {
  test.each([
    ['ok 120\n', 120],
    ['ok 0.5 of 3 GiB\n', 0.5],
    ['ok far\n', Infinity],
  ])('needs the part of the stop that %j says', async (answer, ms) => {
    const { at } = await vmmWith({ 'rest-ms': answer });
    expect(await (await source(at)).stopMs()).toBe(ms);
  });

  test.each([0, 1, 5000, MAX_STATE_BYTES])('brings a state of %i bytes', async (length) => {
    const state = Buffer.alloc(length, 7);
    const answer = Buffer.concat([Buffer.from(`ok ${length}\n`), state]);
    const { at, lines } = await vmmWith({ 'rest-ms': 'ok 0\n', finish: answer });
    const bytes = await (await source(at)).finish(restCall());
    expect(Buffer.compare(bytes!, state)).toBe(0);
    expect(lines).toEqual(['rest-ms', 'finish']);
  });

  test.each([
    ['error the disk is full\n', 'refuses to finish: "error the disk is full"'],
    ['ok\n', 'answers "ok", not "ok LENGTH"'],
    ['ok -1\n', 'answers "ok -1", not "ok LENGTH"'],
    [`ok ${MAX_STATE_BYTES + 1}\n`, `answers with ${MAX_STATE_BYTES + 1} bytes; at most ${MAX_STATE_BYTES}`],
    ['ok 3\nabcd', 'there is more than one answer'],
    [undefined, 'did not finish: '],
    ['x'.repeat(5000), 'the answer is too long'],
  ])('fails where finish is answered with %j', async (answer, message) => {
    const { at } = await vmmWith({ 'rest-ms': 'ok 0\n', finish: answer });
    await expect((await source(at)).finish(restCall())).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      reason: 'refused',
      message: expect.stringContaining(message) as unknown,
    });
  });

  test('fails where the VMM hangs up in the middle of the state', async () => {
    const { at } = await startVmm(scratch('vmm'), ({ line, hangUp }) => {
      if (line === 'rest-ms') return 'ok 0\n';
      hangUp('ok 10\nabc');
      return '';
    });
    await expect((await source(at)).finish(restCall())).rejects.toThrow(
      'did not finish: the connection ended after 3 of 10 bytes',
    );
  });

  test.each([0, 1, MAX_STATE_BYTES])('takes a state of %i bytes', async (length) => {
    const requests: VmmRequest[] = [];
    const { at } = await startVmm(scratch('vmm'), (request) => {
      requests.push(request);
      return 'ok\n';
    });
    const state = Buffer.alloc(length, 9);
    const rest = await destination(at);
    await rest.accept(state, restCall());
    await rest.run();
    await rest.discard(new Error('why'));
    expect(requests.map(({ line }) => line)).toEqual(['can-accept', `accept ${length}`, 'run', 'discard']);
    expect(Buffer.compare(requests[1]!.body, state)).toBe(0);
  });

  test.each(['accept', 'discard', 'run'] as const)(
    'fails with the words of a VMM that refuses %s',
    async (name) => {
      const { at } = await vmmWith({ 'can-accept': 'ok\n', [name]: 'error it is gone\n' });
      const rest = await destination(at);
      const call = {
        accept: () => rest.accept(Buffer.of(1), restCall()),
        discard: () => rest.discard(0),
        run: rest.run,
      };
      await expect(call[name]()).rejects.toThrow(`refuses to ${name}: "error it is gone"`);
    },
  );
});

describe('a VMM without the requests', () => {
  test('has no rest', async () => {
    const { at, lines } = await vmmWith({});
    expect(await requestSourceRest(at)).toBeUndefined();
    expect(await requestDestinationRest(at)).toBeUndefined();
    expect(lines).toEqual(['rest-ms', 'can-accept']);
  });

  test.each([
    ['ok\n', 'unsupported', 'answers rest-ms with "ok"; "ok MS" or "ok far" is expected'],
    ['ok soon\n', 'unsupported', 'answers rest-ms with "ok soon"'],
    [undefined, 'refused', 'did not rest-ms'],
  ])('is not one that answers %j', async (answer, reason, message) => {
    const { at } = await vmmWith({ 'rest-ms': answer });
    await expect(requestSourceRest(at)).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(message) as unknown,
    });
  });

  test('is not one that does not answer, or is not there', async () => {
    const { at } = await startVmm(scratch('vmm'), () => new Promise(() => undefined));
    await expect(requestSourceRest(at, { timeoutMs: 500 })).rejects.toThrow(
      'did not rest-ms: no answer within 500 ms',
    );
    await expect(requestDestinationRest(scratch('nothing'))).rejects.toMatchObject({ errnoName: 'ENOENT' });
  });
});

describe('a call that nothing waits for any more', () => {
  test.each(['finish', 'accept'] as const)(
    'ends %s at the VMM, and goes on until the VMM has ended it',
    async (name) => {
      const events: string[] = [];
      let begun = (): void => undefined;
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      let letGo = (): void => undefined;
      const goes = new Promise<void>((resolve) => (letGo = resolve));
      const { at } = await startVmm(scratch('vmm'), async ({ line, ended }) => {
        if (line === 'rest-ms' || line === 'can-accept') return 'ok 0\n';
        begun();
        await ended;
        events.push('seen');
        await goes;
        events.push('ended');
        return undefined;
      });
      const stop = new AbortController();
      const call =
        name === 'finish'
          ? (await source(at)).finish(restCall(stop))
          : (await destination(at)).accept(Buffer.of(1), restCall(stop));
      const refused = expect(call.finally(() => events.push('settled'))).rejects.toThrow('enough');
      await hasBegun;
      stop.abort(new Error('enough'));
      while (events.length === 0) await new Promise((resolve) => setImmediate(resolve));
      letGo();
      await refused;
      expect(events).toEqual(['seen', 'ended', 'settled']);
    },
  );
});
