import { describe, expect, test } from 'vitest';
import type { Duplex } from 'node:stream';
import { DestinationAgent } from '../../../lib/testing/agent/destination.js';
import type { MemoryProgress } from '../../../lib/testing/agent/rounds.js';
import { SourceAgent } from '../../../lib/testing/agent/source.js';
import { cutAfter, linkStreams, type Wire } from '../../migration/harness/linked-streams.js';
import { PlainGuest } from './plain-guest.js';

const PAGES = 600;
const NAME = 'move-1';

interface Pair {
  readonly source: PlainGuest;
  readonly target: PlainGuest;
  readonly sender: SourceAgent;
  readonly receiver: DestinationAgent;
  readonly progress: MemoryProgress[];
  /** Resolves once the n-th round has been confirmed. */
  readonly confirmed: (rounds: number) => Promise<void>;
}

/** Two agents whose n-th connection passes the n-th pair of wires; later ones are whole. */
function pair(wires: readonly (readonly [Wire | undefined, Wire | undefined])[] = []): Pair {
  const source = new PlainGuest(PAGES);
  const target = new PlainGuest(PAGES);
  const receiver = new DestinationAgent(target, NAME);
  const progress: MemoryProgress[] = [];
  let connections = 0;
  const connect = (): Promise<Duplex> => {
    const [ours, theirs] = linkStreams(...(wires[connections++] ?? []));
    receiver.take(theirs);
    return Promise.resolve(ours);
  };
  const onProgress = (each: MemoryProgress): void => {
    progress.push(each);
  };
  const sender = new SourceAgent(source, connect, NAME, onProgress);
  const confirmed = async (rounds: number): Promise<void> => {
    while (progress.filter(({ complete }) => complete).length < rounds)
      await new Promise((resolve) => setTimeout(resolve, 5));
  };
  return { source, target, sender, receiver, progress, confirmed };
}

function call(): { signal: AbortSignal; migrationId: string; deadlineMs: number } {
  return { signal: new AbortController().signal, migrationId: NAME, deadlineMs: 10_000 };
}

/** Moves what is left, as `sendHpt` and `receiveHpt` do. */
async function finish({ source, sender, receiver }: Pair): Promise<void> {
  await sender.pause();
  source.held = Uint8Array.of(1, 2, 3);
  const state = await sender.rest.finish(call());
  await receiver.rest.accept(state!, call());
  await receiver.rest.run();
  await sender.close();
}

describe('two agents', () => {
  test('move memory, of which only what is not zeros, and registers', async () => {
    const both = pair();
    const { source, target, sender, progress, confirmed } = both;
    expect(await sender.rest.stopMs()).toBe(Infinity);
    source.store(3, 7);
    source.store(599, 9);
    await confirmed(1);
    expect(progress.at(-1)).toMatchObject({ pages: 600, sentPages: 600, zeroPages: 598, bytes: 8192 });
    expect(await sender.rest.stopMs()).toBe(Infinity);
    await confirmed(2);
    expect(await sender.rest.stopMs()).toBeLessThan(Infinity);
    source.store(3, 8);
    source.store(3, 0);
    source.store(77, 5);
    await finish(both);
    expect(Buffer.compare(target.bytes, source.bytes)).toBe(0);
    expect(target.held).toEqual(source.held);
    expect(target.state).toBe('running');
    expect(source.state).toBe('paused');
  });

  test('predict the stop from all pages stored to up to here, and lose none of what that log had', async () => {
    const both = pair();
    const { source, target, sender, confirmed } = both;
    for (let page = 0; page < PAGES; page++) source.store(page, 1);
    await confirmed(2);
    const { stopMs } = sender.rest;
    const few = await stopMs();
    for (let page = 100; page < 200; page++) source.store(page, 2);
    const more = await stopMs();
    for (let page = 100; page < 500; page++) source.store(page, 3);
    const most = await stopMs();
    expect(more).toBeGreaterThan(few);
    expect((most - few) / (more - few)).toBeCloseTo(4);
    await finish(both);
    expect(Buffer.compare(target.bytes, source.bytes)).toBe(0);
  });

  test('stop a round of a guest that is to be stopped: what is left goes with the last one', async () => {
    const both = pair();
    const { source, target, progress } = both;
    for (let page = 0; page < PAGES; page += 2) source.store(page, 1);
    while (progress.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await finish(both);
    expect(Buffer.compare(target.bytes, source.bytes)).toBe(0);
    const [first, second] = [progress[0]!, progress.at(-1)!];
    expect(first).toMatchObject({ round: 1, live: true, complete: false });
    expect(second).toMatchObject({ round: 2, live: false, complete: true });
    const cut = progress.findLast(({ live }) => live)!;
    expect(cut.sentPages + second.sentPages).toBe(PAGES);
  });

  test('go on after a cut at any byte, either way, and no page in flight is lost', async () => {
    let cuts = 0;
    for (const way of [0, 1]) {
      for (let at = 0; at < (way === 0 ? 60_000 : 400); at += way === 0 ? 3001 : 37) {
        const both = pair([way === 0 ? [cutAfter(at), undefined] : [undefined, cutAfter(at)]]);
        const { source, target, confirmed } = both;
        for (let page = 0; page < 10; page++) source.store(page * 60, page + 1);
        await confirmed(1);
        source.store(60, 99);
        source.store(120, 0);
        await confirmed(2);
        await finish(both);
        expect(Buffer.compare(target.bytes, source.bytes)).toBe(0);
        cuts++;
      }
    }
    expect(cuts).toBeGreaterThan(20);
  });
});
