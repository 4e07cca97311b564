import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { DestinationAgent } from '../../../lib/testing/agent/destination.js';
import { SourceAgent } from '../../../lib/testing/agent/source.js';
import { encodePages, memoryLink, type MemoryLink, type Messages } from '../../../lib/testing/agent/wire.js';
import { flipByte, linkStreams, type Wire } from '../../migration/harness/linked-streams.js';
import { PlainGuest } from './plain-guest.js';

const PAGES = 8;
const PAGE_BYTES = 4096;
const NAME = 'move-1';
const BYTES = PAGES * PAGE_BYTES;
const HELLO: Messages['hello'] = { version: 1, name: NAME, bytes: BYTES };
const CALL = { signal: new AbortController().signal, migrationId: NAME, deadlineMs: 1000 };
const ONES = Buffer.alloc(PAGE_BYTES, 1);

interface Target {
  readonly guest: PlainGuest;
  readonly agent: DestinationAgent;
  /** The other end of a new connection of the agent's. */
  readonly connect: (wire?: Wire) => MemoryLink;
}

function target(): Target {
  const guest = new PlainGuest(PAGES);
  const agent = new DestinationAgent(guest, NAME);
  const connect = (wire?: Wire): MemoryLink => {
    const [ours, theirs] = linkStreams(wire);
    agent.take(theirs);
    return memoryLink(ours);
  };
  return { guest, agent, connect };
}

async function greeted(connect: Target['connect']): Promise<MemoryLink> {
  const link = connect();
  await link.tell('hello', HELLO);
  await link.expect('welcome');
  return link;
}

/** Sends all pages, the first with ones, and ends the round; gives the digest that belongs to the registers. */
async function sendAll(link: MemoryLink): Promise<string> {
  await link.send('pages', encodePages(0, PAGE_BYTES, ONES));
  await link.send('pages', encodePages(PAGE_BYTES, BYTES - PAGE_BYTES, Buffer.alloc(0)));
  await link.tell('round', {});
  const { digest } = link;
  await link.expect('applied');
  return digest;
}

describe('a destination refuses', () => {
  test.each([
    [{ version: 2 }, `"version":2,"name":"move-1","bytes":32768}; {"version":1,`],
    [{ name: 'other' }, '"name":"move-1","bytes":32768} is expected here'],
    [{ bytes: 4096 }, '"bytes":4096}; {"version":1,"name":"move-1","bytes":32768} is expected here'],
    [{ bytes: -1 }, 'hello without a valid bytes'],
  ])('the hello %j', async (fields, reason) => {
    const link = target().connect();
    await link.tell('hello', { ...HELLO, ...fields });
    await expect(link.expect('welcome')).rejects.toThrow(reason);
  });

  test.each([
    ['beyond the end', encodePages(BYTES - PAGE_BYTES, 2 * PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES))],
    ['zeros beyond the end', encodePages(PAGE_BYTES, BYTES, Buffer.alloc(0))],
    ['beyond every memory', encodePages(0, PAGE_BYTES, ONES).fill(0xff, 0, 16)],
    ['none', encodePages(0, 0, Buffer.alloc(0))],
    ['not whole', encodePages(0, PAGE_BYTES - 1, Buffer.alloc(PAGE_BYTES - 1))],
    ['more than it says', encodePages(0, PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES))],
    ['between pages', encodePages(PAGE_BYTES / 2, PAGE_BYTES, ONES)],
    ['without numbers', Buffer.alloc(15)],
  ])('pages %s, and writes nothing', async (_, payload) => {
    const { guest, connect } = target();
    const link = await greeted(connect);
    await link.send('pages', payload);
    await expect(link.expect('applied')).rejects.toThrow('invalid data on the memory connection');
    expect(guest.bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('frames that are not due', async () => {
    const first = target().connect();
    await first.send('pages', encodePages(0, PAGE_BYTES, ONES));
    await expect(first.expect('welcome')).rejects.toThrow('pages in place of hello');
    const { connect } = target();
    const second = await greeted(connect);
    await second.tell('hello', HELLO);
    await expect(second.expect('applied')).rejects.toThrow('hello is not due');
  });

  test('a damaged frame: the connection ends, and the memory is as it was', async () => {
    const { guest, connect } = target();
    const link = connect(flipByte(2000, 0x04));
    await link.tell('hello', HELLO);
    await link.expect('welcome');
    await link.send('pages', encodePages(0, PAGE_BYTES, ONES));
    await expect(link.expect('applied')).rejects.toThrow('memory connection: the connection is lost');
    expect(guest.bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('a stranger, who does not disturb the connection that is there', async () => {
    const { guest, connect, agent } = target();
    const link = await greeted(connect);
    const stranger = connect();
    await stranger.tell('hello', { ...HELLO, name: 'other' });
    await expect(stranger.expect('welcome')).rejects.toThrow('is expected here');
    const digest = await sendAll(link);
    await agent.rest.accept(Buffer.concat([Buffer.from(digest, 'hex'), Buffer.of(7)]), CALL);
    expect(guest.held).toEqual(Uint8Array.of(7));
    await agent.rest.run();
  });
});

describe('registers', () => {
  test('are accepted only with the memory that they belong to', async () => {
    const { agent, connect } = target();
    const refused = { code: 'ERR_HTAB_VERIFY' };
    await expect(agent.rest.accept(Buffer.alloc(40), CALL)).rejects.toMatchObject(refused);
    const link = await greeted(connect);
    await link.send('pages', encodePages(0, PAGE_BYTES, ONES));
    await link.tell('round', {});
    const { digest: ofOnePage } = link;
    await link.expect('applied');
    await expect(agent.rest.accept(Buffer.from(ofOnePage, 'hex'), CALL)).rejects.toMatchObject(refused);
    const digest = Buffer.from(await sendAll(link), 'hex');
    await expect(agent.rest.accept(digest.subarray(1), CALL)).rejects.toMatchObject(refused);
    await agent.rest.accept(digest, CALL);
    // More comes: what was whole is not any more.
    await sendAll(link);
    await expect(agent.rest.accept(digest, CALL)).rejects.toMatchObject(refused);
    await agent.rest.discard(new Error('enough'));
  });
});

describe('discard', () => {
  test('zeroes what has come, ends the connection, and takes no other; twice is once', async () => {
    const { guest, agent, connect } = target();
    const link = await greeted(connect);
    await sendAll(link);
    expect(guest.bytes[0]).toBe(1);
    await Promise.all([agent.rest.discard(new Error('enough')), agent.rest.discard(new Error('enough'))]);
    expect(guest.bytes.every((byte) => byte === 0)).toBe(true);
    await expect(link.expect('applied')).rejects.toThrow('the connection is lost');
    const late = connect();
    await late.tell('hello', HELLO);
    await expect(late.expect('welcome')).rejects.toThrow('this migration has ended here');
  });
});

describe('a source fails for good', () => {
  async function failureWith(answer: (link: MemoryLink) => Promise<void>): Promise<unknown> {
    const connect = (): Promise<Duplex> => {
      const [ours, theirs] = linkStreams();
      const link = memoryLink(theirs);
      void link
        .expect('hello')
        .then(() => answer(link))
        .catch(() => undefined);
      return Promise.resolve(ours);
    };
    await using agent = new SourceAgent(new PlainGuest(PAGES), connect, NAME);
    const failure = await agent.rest.finish(CALL).catch((error: unknown) => error);
    await expect(agent.rest.stopMs()).rejects.toBe(failure);
    return failure;
  }

  test('when it is refused', async () => {
    const failure = await failureWith((link) => link.refuse('no room\n'));
    expect(String(failure)).toContain('the other agent refuses the memory: no room');
  });

  test('when the answer is none', async () => {
    const failure = await failureWith((link) => link.send('welcome', Buffer.from('[]')));
    expect(String(failure)).toContain('welcome without a valid keeps');
  });
});
