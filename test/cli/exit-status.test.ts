import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Decision, Side } from '../../lib/migration/journal/journal.js';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import { SeededRandom } from '../../lib/base/random.js';
import { scratchFiles } from '../scratch.js';
import { CommandProcess, notCompiled, startSend, type Ended } from './processes.js';

/** Signals sent; a long run is `KVM_HTAB_SIGNALS=200 npx vitest run test/cli/exit-status`. */
const SIGNALS = Number(process.env['KVM_HTAB_SIGNALS'] ?? 24);
/** Processes of two migrations at a time: more would only wait for each other. */
const AT_A_TIME = 2;
const KINDS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
/** How a shell reports the end by each of these: documented as "interrupted". */
const STATUS = { SIGTERM: 143, SIGINT: 130, SIGHUP: 129 } as const;

const temporary = scratchFiles();

/** One signal: to which side, and when. */
interface Moment {
  readonly side: Side;
  readonly signal: (typeof KINDS)[number];
  /** What it follows, and by how much: the process's start, or the event that says what has become of the guest. */
  readonly after: 'start' | 'done';
  readonly delayMs: number;
}

/** Most of them fall between the last event and the end of the process, where no job is left to be aborted. */
function momentOf(index: number): Moment {
  const random = new SeededRandom(index);
  const after = index % 4 === 0 ? 'start' : 'done';
  return {
    side: (index >> 1) % 2 === 0 ? 'source' : 'destination',
    signal: KINDS[random.below(KINDS.length)]!,
    after,
    delayMs: random.below(after === 'start' ? 600 : 100),
  };
}

async function send(signal: Moment['signal'], to: CommandProcess, { after, delayMs }: Moment): Promise<void> {
  if (after === 'done') await to.event('done').catch(() => undefined);
  await delay(delayMs);
  to.kill(signal);
}

/** What a shell shows of the end: of a process that a signal has killed, 128 + its number. */
function statusOf({ code, signal }: Ended): number {
  return code ?? STATUS[signal as Moment['signal']];
}

async function decisionIn(file: string, side: Side): Promise<Decision | undefined> {
  const journal = await openJournal(file);
  try {
    const entries = await journal.entries(side);
    const state = entries.at(-1)?.state;
    return state === 'pending' ? undefined : state;
  } finally {
    await journal.close();
  }
}

/** What contradicts what: the destination's journal is the truth about the guest. */
async function contradictions(moment: Moment): Promise<string[]> {
  const [socket, sourceJournal, journal] = [temporary('s'), temporary('source'), temporary('destination')];
  const receiver = new CommandProcess([
    ...['receive', `unix:${socket}`, '--emulated', '--journal', journal, '--reconnect-ms', '0'],
  ]);
  const signalled = moment.side === 'destination' ? send(moment.signal, receiver, moment) : undefined;
  const listens = await receiver.event('listening').then(
    () => true,
    () => false,
  );
  let sent: Ended | undefined;
  if (listens) {
    const place = ['--emulated=order=20,steps=500', '--reconnect-ms', '0', '--journal', sourceJournal];
    const sender = startSend(`unix:${socket}`, ...place);
    if (moment.side === 'source') await send(moment.signal, sender, moment);
    sent = await sender.ended;
    // A source that ended before it was heard leaves its destination waiting.
    if (sent.done === undefined) receiver.kill('SIGTERM');
  }
  const received = await receiver.ended;
  await signalled;

  const moved = (await decisionIn(journal, 'destination')) === 'committed';
  const found: string[] = [];
  const check = (holds: boolean, text: string): void => {
    if (!holds) found.push(`${text} (the guest has ${moved ? '' : 'not '}moved)`);
  };
  const said = ({ events }: Ended, name: string): boolean => events.some(({ event }) => event === name);
  const at = statusOf(received);
  check((at === 0) === moved, `receive ended with ${at}`);
  check(said(received, 'done') === moved, `receive said done: ${String(said(received, 'done'))}`);
  check(!(moved && said(received, 'failed')), 'receive said failed');
  if (sent === undefined) return found;
  const from = statusOf(sent);
  check(from === 4 || (from === 0) === moved, `send ended with ${from}`);
  check(said(sent, 'done') === (from === 0), `send ended with ${from}, and said done or did not`);
  check(!(from === 0 && said(sent, 'failed')), 'send said failed and ended with 0');
  const written = await decisionIn(sourceJournal, 'source');
  check(written === undefined || (written === 'committed') === moved, `send wrote ${String(written)}`);
  return found;
}

test.skipIf(notCompiled !== undefined)(
  `${SIGNALS} signals at random moments: exit status, events and journals of both sides agree about the guest`,
  async () => {
    const moments = Array.from({ length: SIGNALS }, (_, index) => momentOf(index));
    const wrong: [Moment, string[]][] = [];
    const worker = async (): Promise<void> => {
      for (let moment = moments.pop(); moment !== undefined; moment = moments.pop()) {
        const found = await contradictions(moment);
        if (found.length > 0) wrong.push([moment, found]);
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    expect(wrong).toEqual([]);
  },
  60_000 + SIGNALS * 10_000,
);
