import { expect, test } from 'vitest';
import { isCount } from '../../lib/frames/fields.js';
import { MessageLink, type MessageLinkOptions } from '../../lib/transport/message-link.js';
import { linkStreams } from '../migration/harness/linked-streams.js';

interface Messages {
  readonly ask: { readonly number: number };
  readonly answer: { readonly number: number };
}

const OPTIONS: MessageLinkOptions<Messages, 'bytes'> = {
  magic: 0x1234,
  timeoutMs: 5000,
  checks: { ask: { number: isCount }, answer: { number: isCount } },
  others: { bytes: 10 },
  broken: (reason) => new Error(`broken: ${reason}`),
  invalid: (what) => new Error(`invalid: ${what}`),
  refused: (reason) => new Error(`refused: ${reason}`),
};

function pair(): [MessageLink<Messages, 'bytes'>, MessageLink<Messages, 'bytes'>] {
  const [ours, theirs] = linkStreams();
  return [new MessageLink(ours, OPTIONS), new MessageLink(theirs, OPTIONS)];
}

test('messages and other frames arrive, and both ends have the same digest', async () => {
  const [source, target] = pair();
  await source.tell('ask', { number: 7 });
  expect(await target.expect('ask')).toEqual({ number: 7 });
  await target.send('bytes', Buffer.of(1, 2));
  expect(await source.wait()).toEqual({ type: 'bytes', payload: Buffer.of(1, 2) });
  expect(source.digest).toBe(target.digest);
});

test('other contents of the same length make another digest', async () => {
  const digests = [];
  for (const byte of [1, 2]) {
    const [source] = pair();
    await source.send('bytes', Buffer.of(byte));
    digests.push(source.digest);
  }
  expect(digests[0]).not.toBe(digests[1]);
});

test("a frame's type is numbered by its place: refused, the messages, the others", async () => {
  const [ours, theirs] = linkStreams();
  const link = new MessageLink(ours, OPTIONS);
  const chunks: Buffer[] = [];
  theirs.on('data', (chunk: Buffer) => chunks.push(chunk));
  await link.send('refused', Buffer.alloc(0));
  await link.send('ask', Buffer.alloc(0));
  await link.send('answer', Buffer.alloc(0));
  await link.send('bytes', Buffer.alloc(0));
  await new Promise((resolve) => setImmediate(resolve));
  const bytes = Buffer.concat(chunks);
  expect([0, 1, 2, 3].map((frame) => bytes[16 * frame + 2])).toEqual([0, 1, 2, 3]);
  expect(bytes.length).toBe(64);
});

test('a message that is not due, lacks a field, or refuses is an error that says so', async () => {
  const [source, target] = pair();
  await source.tell('answer', { number: 1 });
  await expect(target.expect('ask')).rejects.toThrow('invalid: answer in place of ask');
  await source.send('ask', Buffer.from('{}'));
  await expect(target.expect('ask')).rejects.toThrow('invalid: ask without a valid number');
  const refusing = source.refuse('no room\n');
  await expect(target.expect('ask')).rejects.toThrow(/^refused: no room/);
  target.close();
  await refusing;
  await expect(source.tell('ask', { number: 1 })).rejects.toThrow('broken');
});

test('a frame is no longer than its type allows', async () => {
  const [source] = pair();
  await expect(source.send('bytes', Buffer.alloc(11))).rejects.toThrow(RangeError);
});
