import type { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { isHtabError, type HtabError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { answerOutcomes, askOutcome } from '../../lib/migration/outcome.js';
import { ask, encodeFrame } from '../../lib/migration/wire/protocol.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { SeededRandom } from '../../lib/base/random.js';
import type { ReceiveReport } from '../../lib/migration/destination/receive-report.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import {
  MIGRATION_ID,
  QuietRest,
  REST,
  ScriptedPeer,
  record,
  settle,
  type Conversation,
} from './conversation.js';
import { mutate } from './frame-mutations.js';

/**
 * Mutated conversations, half of them for either end. .ci/run makes 20,000; a long run is
 * `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/migration`.
 */
const RUNS = Number(process.env['KVM_HTAB_FUZZ_RUNS'] ?? 3000);
/** A run that ends in a failure names the seed; `KVM_HTAB_FUZZ_SEED` begins with it. */
const FIRST = Number(process.env['KVM_HTAB_FUZZ_SEED'] ?? 1);

const COMMIT = 9;
const COMMITTED = 10;
const ABORT = 11;

/** Entries of the guests that are moved: none to speak of, one frame, and several frames. */
const SIZES = [3, 40, 400];

/** How often what came of it. */
class Tally {
  readonly #times = new Map<string, number>();

  count(name: string): void {
    this.#times.set(name, this.times(name) + 1);
  }

  times(name: string): number {
    return this.#times.get(name) ?? 0;
  }

  print(title: string): void {
    const sorted = [...this.#times].sort(([, a], [, b]) => b - a);
    console.log(
      `${title}\n${sorted.map(([name, times]) => `${String(times).padStart(8)} ${name}`).join('\n')}`,
    );
  }
}

async function everySeed(
  runs: number,
  run: (random: SeededRandom, conversation: Conversation) => Promise<string>,
): Promise<Tally> {
  const conversations = await Promise.all(SIZES.flatMap((size) => [record(size), record(size, true)]));
  const tally = new Tally();
  for (let seed = FIRST; seed < FIRST + runs; seed++) {
    const random = new SeededRandom(seed);
    try {
      tally.count(await run(random, conversations[random.below(conversations.length)]!));
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
  return tally;
}

/** The code of an error that a peer may cause. */
function codeOf(error: unknown): string {
  if (!isHtabError(error)) throw new Error('not a typed error', { cause: error });
  const { code, message }: HtabError = error;
  // A peer's own words are in some of them: no control characters, and not without end.
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(message) || message.length > 1500)
    throw new Error('an unfit message', { cause: error });
  return code;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Connections as a listener gives them: the next one once the one before it is closed. */
async function* oneByOne(channels: readonly ScriptedPeer[]): AsyncGenerator<Duplex> {
  for (const channel of channels) {
    yield channel;
    await new Promise<void>((resolve) => {
      if (channel.destroyed) resolve();
      else channel.once('close', resolve);
    });
  }
}

test('a destination takes a mutated conversation rightly, or ends in a typed error with an empty table', async () => {
  const tally = await everySeed(RUNS / 2, async (random, { fromSource, digest, whole }) => {
    const target = new EmulatedVm({ host: 'power8' });
    const peers = [new ScriptedPeer(mutate(fromSource, random))];
    // Once in three times the source comes back with all as it should be.
    const comesBack = random.chance(1 / 3);
    if (comesBack) peers.push(new ScriptedPeer(fromSource));
    const journal = new MemoryJournal();
    const readBack = random.chance(1 / 4);
    const rest = whole ? new QuietRest() : undefined;
    const channel = comesBack ? oneByOne(peers) : peers[0]!;
    const result = await settle(receiveHpt(target, channel, { journal, readBack, rest }), () => {
      for (const peer of peers) peer.goOn();
    });
    return judge(result, peers);

    async function judge(
      received: PromiseSettledResult<ReceiveReport>,
      sources: readonly ScriptedPeer[],
    ): Promise<string> {
      if (received.status === 'rejected') {
        const code = codeOf(received.reason);
        check(rest?.calls.includes('run') !== true, 'a guest runs whose migration failed');
        check(
          rest === undefined || rest.calls.filter((call) => call === 'discard').length === 1,
          'not discarded once',
        );
        check((target.table?.validCount ?? 0) === 0, 'something is left in the table');
        const entry = await journal.find('destination', MIGRATION_ID);
        check(entry?.state !== 'committed', 'a migration that failed is committed');
        check(
          !sources.some(({ heard }) => heard.includes(COMMITTED)),
          'the source has reported the guest as moved',
        );
        return code;
      }
      const { value } = received;
      check(value.digest() === digest, 'a table that the source does not have');
      check(digestTable(target.table!) === digest, 'not the table that it reports');
      const entry = await journal.find('destination', value.migrationId);
      check(entry?.state === 'committed', 'moved, and not committed');
      check(
        rest === undefined || /^(accept,)+run$/.test(rest.calls.join()),
        'a guest runs that is not whole',
      );
      check(rest === undefined || rest.state === 'registers', 'another state');
      return comesBack ? 'moved, over one of two connections' : 'moved';
    }
  });
  tally.print(`${RUNS / 2} mutated conversations to a destination:`);
  // A test that saw nothing refused, or nothing else, would have proved little.
  expect(tally.times('moved')).toBeGreaterThan(0);
  expect(tally.times('moved, over one of two connections')).toBeGreaterThan(RUNS / 100);
  for (const code of ['ERR_HTAB_MIGRATION', 'ERR_HTAB_VERIFY', 'ERR_HTAB_FORMAT']) {
    expect(tally.times(code), code).toBeGreaterThan(RUNS / 1000);
  }
}, 7_200_000);

test('a source answered by a mutated conversation keeps its guest, or gives it up only to a destination that says it has it', async () => {
  const tally = await everySeed(
    RUNS / 2,
    async (random, { guest, whole, digest, fromDestination, turns }) => {
      const said = mutate(fromDestination, random);
      const peer = new ScriptedPeer(said, turns);
      const sent = await settle(
        sendHpt(guest.vm, peer, { ...guest.options, rest: whole ? REST : undefined }),
        () => {
          peer.goOn();
        },
      );
      const { runs } = guest;
      if (!runs) await guest.options.resume!();
      const committed = peer.heard.includes(COMMIT);
      if (sent.status === 'fulfilled') {
        check(!runs && committed, 'moved, and not committed');
        check(sent.value.digest() === digest, 'another table than it has');
        check(peer.said(COMMITTED), 'the guest moved, and neither side reports it');
        return 'moved';
      }
      const code = codeOf(sent.reason);
      if (code === 'ERR_HTAB_IN_DOUBT') {
        check(!runs && committed, 'in doubt for nothing');
      } else {
        check(runs, 'the guest stays stopped, and neither side reports it');
        check(!committed || peer.said(ABORT), 'the guest was taken back after the commit');
      }
      return code;
    },
  );
  tally.print(`${RUNS / 2} mutated conversations to a source:`);
  for (const outcome of ['moved', 'ERR_HTAB_MIGRATION', 'ERR_HTAB_VERIFY', 'ERR_HTAB_IN_DOUBT']) {
    expect(tally.times(outcome), outcome).toBeGreaterThan(0);
  }
}, 7_200_000);

test('an outcome that is asked for by, or answered with, a mutated message is a right one or a typed error', async () => {
  const frame = (message: Parameters<typeof encodeFrame>[0]): Buffer =>
    Buffer.concat(Object.values(encodeFrame(message, 0)));
  const tally = await everySeed(RUNS / 10, async (random) => {
    const outcome = (['committed', 'aborted', 'unknown'] as const)[random.below(3)]!;
    const answerer = new ScriptedPeer(
      mutate(
        [frame({ type: 'outcome', outcome, digest: outcome === 'unknown' ? null : '0'.repeat(64) })],
        random,
      ),
    );
    const asked = await settle(askOutcome(answerer, MIGRATION_ID), () => {
      answerer.goOn();
    });
    if (asked.status === 'rejected') codeOf(asked.reason);
    else check(['committed', 'aborted', 'unknown'].includes(asked.value), 'no outcome');

    const journal = new MemoryJournal();
    await journal.begin({
      side: 'destination',
      migrationId: MIGRATION_ID,
      order: 18,
      digest: '0'.repeat(64),
    });
    const asker = new ScriptedPeer(mutate([frame(ask(MIGRATION_ID))], random));
    const answered = await settle(answerOutcomes(journal, asker), () => {
      asker.goOn();
    });
    if (answered.status === 'rejected') codeOf(answered.reason);
    const entry = await journal.find('destination', MIGRATION_ID);
    check(entry?.state !== 'committed', 'asking has committed');
    return `${asked.status}, ${answered.status}`;
  });
  expect(tally.times('rejected, rejected')).toBeGreaterThan(0);
});
