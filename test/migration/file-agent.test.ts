import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { appendFile, truncate } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import * as library from '../../lib/index.js';
import { EmulatedVm, MemoryJournal, channels, connect, listen } from '../../lib/index.js';
import { GuestWorkload, SeededRandom } from '../../lib/testing.js';
import { scratchFiles } from '../scratch.js';
import { CutLine } from './harness/cut-line.js';
import { FileDestination, FileSource } from './harness/file-agent.js';

/** `FILE_BYTES=67108864 FILE_CUTS=40` cuts more moves, of a larger file. */
const FILE_BYTES = Number(process.env['FILE_BYTES'] ?? 2 ** 21);
const CUTS = Number(process.env['FILE_CUTS'] ?? 8);
const migrationId = 'file-1';
/** Most can go wrong around these, and few bytes pass there. */
const LAST_STATES = ['stopped', 'prepared', 'committing', 'deciding', 'committed'] as const;
const LATE_MS = 6;

interface Cut {
  readonly line: 'table' | 'file';
  /** Once so many bytes have passed, either way; or so long after a side has entered a state. */
  readonly at: number | { readonly state: (typeof LAST_STATES)[number]; readonly ms: number };
  /** No other connection passes after it. */
  readonly forGood: boolean;
}

const scratch = scratchFiles();

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** A guest that appends to its file as it runs, and may run at one side only. */
class FileGuest {
  readonly vm = new EmulatedVm();
  readonly file: string;
  runsHere = false;
  runsThere = false;
  #working = Promise.resolve();

  constructor(file: string) {
    this.file = file;
  }

  readonly resume = (): Promise<void> => {
    expect(this.runsThere).toBe(false);
    this.runsHere = true;
    this.#working = this.#work();
    return Promise.resolve();
  };

  readonly pause = async (): Promise<void> => {
    this.runsHere = false;
    await this.#working;
  };

  readonly runThere = (): Promise<void> => {
    expect(this.runsHere).toBe(false);
    this.runsThere = true;
    return Promise.resolve();
  };

  async #work(): Promise<void> {
    const workload = new GuestWorkload(this.vm, { seed: 7, pages: 4000 });
    for (; this.runsHere; await new Promise((resolve) => setTimeout(resolve, 10))) {
      workload.step(20);
      await appendFile(this.file, `${workload.counts.stores} stores\n`);
    }
  }
}

async function startGuest(): Promise<FileGuest> {
  const file = scratch('source');
  await appendFile(file, 'the first bytes');
  await truncate(file, FILE_BYTES);
  const guest = new FileGuest(file);
  await guest.vm.allocateHpt(18);
  await guest.resume();
  return guest;
}

/** Cuts a line so long after a side has entered a state. */
function cutAfter(line: CutLine, { state, ms }: Exclude<Cut['at'], number>): void {
  const listener = (event: { readonly state: string }): void => {
    if (event.state !== state) return;
    channels.state.unsubscribe(listener);
    setTimeout(() => {
      line.cut();
    }, ms);
  };
  channels.state.subscribe(listener);
  onTestFinished(() => {
    channels.state.unsubscribe(listener);
  });
}

/** Lines to two listeners, one of which is cut. */
async function linesTo(addresses: Record<Cut['line'], string>, cut: Cut | undefined) {
  const lineTo = async (name: Cut['line']): Promise<CutLine> => {
    if (cut?.line !== name) return CutLine.to(addresses[name]);
    const line = await CutLine.to(
      addresses[name],
      typeof cut.at === 'number' ? cut.at : Infinity,
      cut.forGood,
    );
    if (typeof cut.at !== 'number') cutAfter(line, cut.at);
    return line;
  };
  return { table: await lineTo('table'), file: await lineTo('file') };
}

/** Moves a guest with its file, over lines of which one may be cut, and asks for the outcome where that is in doubt. */
async function move(cut?: Cut) {
  const guest = await startGuest();
  const arriving = scratch('destination');
  using tables = await listen('tcp://127.0.0.1:0');
  using files = await listen('tcp://127.0.0.1:0');
  const lines = await linesTo({ table: tables.address, file: files.address }, cut);
  using table = lines.table;
  using file = lines.file;
  // A line that is cut for good is waited for a moment only: either end is a good one.
  const reconnectMs = cut?.forGood === true ? 300 : 60_000;
  const receiver = new FileDestination(arriving, guest.runThere);
  void (async () => {
    for await (const channel of files) receiver.take(channel);
  })();
  const journal = new MemoryJournal();
  void library.answerOutcomes(journal, tables);
  const stayed = new AbortController();
  const receive = { migrationId, journal, reconnectMs, rest: receiver.rest, signal: stayed.signal };
  const receiving = library.receiveHpt(new EmulatedVm(), tables, receive);

  const sender = new FileSource(guest.file, () => connect(file.address), reconnectMs);
  const { pause, resume } = guest;
  const { rest, lost: signal } = sender;
  const options = { migrationId, pause, resume, rest, signal, reconnectMs, waitMs: 2000 };
  const stopLimitMs = cut?.forGood === true ? 3000 : 120_000;
  const sending = library.sendHpt(guest.vm, () => connect(table.address), { ...options, stopLimitMs });
  // Of a source whose hello never arrived the destination hears this way only.
  sending.catch((error: unknown) => {
    if (codeOf(error) !== 'ERR_HTAB_IN_DOUBT') stayed.abort(error);
  });
  const [sent, received] = await Promise.allSettled([sending, receiving]);
  await sender.close();

  const inDoubt = sent.status === 'rejected' && codeOf(sent.reason) === 'ERR_HTAB_IN_DOUBT';
  if (inDoubt) {
    expect(guest.runsHere).toBe(false);
    const outcome = await library.askOutcome(await connect(tables.address), migrationId);
    if (outcome === 'aborted') await resume();
  }
  const { runsHere } = guest;
  await pause();
  return { guest, runsHere, arriving, sent, received, inDoubt, table, file };
}

function codeOf(error: unknown): string | undefined {
  return library.isHtabError(error) ? error.code : undefined;
}

/** One good side: the guest runs at the destination with its whole file, or at the source, and nothing is left of it there. */
async function judge(moved: Awaited<ReturnType<typeof move>>): Promise<string> {
  const { guest, runsHere, arriving, received, inDoubt } = moved;
  expect(guest.runsThere).toBe(!runsHere);
  expect(received.status).toBe(guest.runsThere ? 'fulfilled' : 'rejected');
  if (guest.runsThere) expect(await digestOf(arriving)).toBe(await digestOf(guest.file));
  else expect(existsSync(arriving)).toBe(false);
  return `${inDoubt ? 'in doubt, then ' : ''}${guest.runsThere ? 'moved' : 'stayed'}`;
}

describe('a guest whose rest is a file', () => {
  test('moves with it', async () => {
    const moved = await move();
    expect(moved.sent.status).toBe('fulfilled');
    expect(await judge(moved)).toBe('moved');
  });

  test('stays where the table has no connection from its first byte on', async () => {
    expect(await judge(await move({ line: 'table', at: 1, forGood: true }))).toBe('stayed');
  });

  test.each(['table', 'file'] as const)(
    'is at one good side after the connection of its %s was cut at any moment',
    async (line) => {
      const random = new SeededRandom(Number(process.env['FILE_SEED'] ?? 1));
      const { [line]: whole } = await move();
      const ends = new Map<string, number>();
      for (let nth = 0; nth < CUTS; nth++) {
        const state = LAST_STATES[random.below(LAST_STATES.length)]!;
        const at = nth % 2 === 0 ? 1 + random.below(whole.bytes) : { state, ms: random.below(LATE_MS) };
        const cut: Cut = { line, at, forGood: random.chance(0.5) };
        const moved = await move(cut);
        const end = await judge(moved).catch((cause: unknown) => {
          throw new Error(JSON.stringify({ nth, ...cut, sent: moved.sent, received: moved.received }), {
            cause,
          });
        });
        const name = `cut ${cut.forGood ? 'for good' : 'once'}: ${end}`;
        ends.set(name, (ends.get(name) ?? 0) + 1);
      }
      console.log(
        `${CUTS} cuts of the connection of the ${line}: ${JSON.stringify(Object.fromEntries(ends))}`,
      );
      expect([...ends.values()].reduce((sum, times) => sum + times, 0)).toBe(CUTS);
    },
  );
});
