import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { type JournalEntry, type Side } from '../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import { scratchFiles } from '../scratch.js';
import { IDS, bytesOf, entry, journalsOf, truthOf } from '../migration/harness/damaged-journals.js';
import { captureOutput } from './capture.js';
import { CommandProcess, notCompiled } from './processes.js';

const scratch = scratchFiles();
const SIDES: readonly Side[] = ['source', 'destination'];
const [MOVED] = IDS;
const COMMITTED = 'two lines, committed';

/** What no answer may say where this is not true. */
const CLAIMS: Readonly<Record<Side, Readonly<Record<string, RegExp>>>> = {
  source: {
    committed: /must not run here again/,
    aborted: /the guest stayed here/,
    nothing: /had not committed|guest is here/,
  },
  destination: {
    committed: /the guest is here/,
    aborted: /the guest is the source's|can be told "aborted"/,
    nothing: /has no migration/,
  },
};

function checkClaims(side: Side, text: string, state: string, what: string): void {
  for (const [claimed, pattern] of Object.entries(CLAIMS[side])) {
    // What is pending at a destination can be decided to be aborted.
    const mayBe = claimed === state || (claimed === 'aborted' && state === 'pending');
    if (!mayBe && pattern.test(text)) throw new Error(`${what}: "${text}" where it is ${state}`);
  }
}

async function resolve(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const output = captureOutput();
  const code = await run(['resolve', ...args], output);
  return { code, stdout: output.stdout.text, stderr: output.stderr.text };
}

function damagedFile(bytes: Buffer): string {
  const file = scratch('journal');
  writeFileSync(file, bytes);
  return file;
}

/** A bit in each of these bytes flipped, and the file cut there. */
function* damagesOf(lines: readonly JournalEntry[], step: number): Generator<[string, Buffer]> {
  const { bytes, ends } = bytesOf(lines);
  for (let at = 3; at < bytes.length; at += step) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1 << (at % 8);
    yield [`a bit of byte ${at} flipped`, flipped];
    if (!ends.includes(at)) yield [`cut to ${at} bytes`, bytes.subarray(0, at)];
  }
}

describe.each(SIDES)('resolve with a damaged journal of a %s', (side) => {
  test.each(Object.entries(journalsOf(side)))('claims nothing that is not true: %s', async (_, lines) => {
    const truth = truthOf(lines, side);
    for (const [what, bytes] of damagesOf(lines, 47)) {
      const journal = ['--journal', damagedFile(bytes), '--side', side];
      const all = await resolve(...journal);
      expect(all.code, what).toBe(4);
      expect(all.stderr, what).toMatch(/line \d+ \(byte \d+\) is (damaged|cut short)/);
      const told = all.stdout.split('\n');
      expect(told.at(-2), what).toBe(
        'the journal is damaged and cannot tell whether there were other migrations',
      );
      for (const line of told.slice(0, -2)) {
        const [id = ''] = line.split(' ');
        checkClaims(side, line, truth.get(id) ?? 'nothing', `${what}, all`);
      }
      for (const id of IDS) {
        const { code, stdout, stderr } = await resolve(id, ...journal);
        const state = truth.get(id) ?? 'nothing';
        expect(stderr, what).toMatch(/line \d+ \(byte \d+\) is/);
        checkClaims(side, stdout, state, `${what}, ${id}`);
        if (code === 0) expect(['committed', 'aborted'], `${what}, ${id}`).toContain(state);
        else expect(code, what).toBe(4);
      }
    }
  });
});

test('resolve learns from the destination what a damaged journal cannot tell, and says that it cannot write it down', async () => {
  const answering = new MemoryJournal();
  await answering.begin(entry('destination', MOVED, 'pending'));
  await answering.decide('destination', MOVED, 'committed');
  const path = scratch('socket');
  const listener = createServer((socket) => void answerOutcomes(answering, socket)).listen(path);
  onTestFinished(() => void listener.close());
  await once(listener, 'listening');
  const { bytes } = bytesOf(journalsOf('source')[COMMITTED]!);
  const damaged = Buffer.from(bytes);
  damaged[bytes.length - 5]! ^= 4;
  const { code, stdout, stderr } = await resolve(
    MOVED,
    '--journal',
    damagedFile(damaged),
    '--ask',
    `unix:${path}`,
  );
  expect([code, stdout]).toEqual([
    0,
    `${MOVED} committed: the guest is the destination's; it must not run here again\n`,
  ]);
  expect(stderr).toMatch(/could not be recorded as committed: .*line 4 \(byte \d+\) is damaged/);
});

test('resolve learns nothing about another source that has used the same id', async () => {
  const answering = new MemoryJournal();
  await answering.begin({ ...entry('destination', MOVED, 'pending'), digest: '00'.repeat(32) });
  await answering.decide('destination', MOVED, 'committed');
  const path = scratch('socket');
  const listener = createServer((socket) => void answerOutcomes(answering, socket)).listen(path);
  onTestFinished(() => void listener.close());
  await once(listener, 'listening');
  const { bytes } = bytesOf([entry('source', MOVED, 'pending')]);
  const told = await resolve('--journal', damagedFile(bytes), '--ask', `unix:${path}`);
  expect([told.code, told.stdout.split('\n')[0]]).toEqual([
    4,
    `${MOVED} pending: in doubt: keep the guest stopped here, and ask the destination`,
  ]);
});

describe.skipIf(notCompiled !== undefined)('the commands', () => {
  const lines = journalsOf('destination')[COMMITTED]!;
  const flipped = (of: readonly JournalEntry[]): Buffer => {
    const { bytes } = bytesOf(of);
    bytes[bytes.length - 5]! ^= 4;
    return bytes;
  };

  test.each(SIDES)('resolve names the faulty line of a %s in its objects, and ends with 4', async (side) => {
    const file = damagedFile(flipped(journalsOf(side)[COMMITTED]!));
    for (const id of [[], [MOVED]]) {
      const { code, events, stderr } = await new CommandProcess([
        'resolve',
        ...id,
        '--journal',
        file,
        '--side',
        side,
      ]).ended;
      expect(code).toBe(4);
      expect(stderr).toMatch(/line 4 \(byte \d+\) is damaged/);
      expect(events[0]).toMatchObject({
        migrationId: MOVED,
        state: 'in-doubt',
        damage: [{ kind: 'damaged', line: 4, byteOffset: expect.any(Number) as number }],
      });
      expect(events.length).toBe(id.length === 0 ? 2 : 1);
    }
  });

  test('receive with a damaged journal answers no source, takes no guest, and names the line', async () => {
    const file = damagedFile(flipped(lines));
    const address = `unix:${scratch('socket')}`;
    const receiver = new CommandProcess(['receive', address, '--emulated', '--journal', file]);
    await receiver.event('listening');
    const source = damagedFile(bytesOf([entry('source', MOVED, 'pending')]).bytes);
    const asked = await new CommandProcess(['resolve', '--journal', source, '--ask', address]).ended;
    expect([asked.code, asked.events[0]?.['state']]).toEqual([4, 'pending']);
    expect(asked.stderr).toMatch(/line 4 \(byte \d+\) is damaged/);
    const sent = await new CommandProcess(['send', address, '--emulated=order=18']).ended;
    expect(sent.code).toBe(1);
    expect(sent.stderr).toMatch(/line 4 \(byte \d+\) is damaged/);
    const received = await receiver.ended;
    expect(received.code).toBe(1);
    expect(received.stderr).toMatch(
      /this destination cannot record a decision: .*line 4 \(byte \d+\) is damaged/,
    );
  });

  test('send with a damaged journal leaves the guest here before it says hello, and names the line', async () => {
    const address = `unix:${scratch('socket')}`;
    const receiver = new CommandProcess(['receive', address, '--emulated']);
    await receiver.event('listening');
    const journal = damagedFile(flipped(journalsOf('source')[COMMITTED]!));
    const sent = await new CommandProcess(['send', address, '--emulated=order=18', '--journal', journal])
      .ended;
    expect(sent.code).toBe(1);
    expect(sent.stderr).toMatch(/line 4 \(byte \d+\) is damaged/);
    receiver.kill('SIGTERM');
    expect((await receiver.ended).code).toBe(143);
  });
});
