import { describe, expect, test } from 'vitest';
import { HtabJournalError, type JournalFault } from '../../../lib/migration/journal/journal-damage.js';
import type { JournalEntry, Side } from '../../../lib/migration/journal/journal.js';
import { abortUnlessDecided } from '../../../lib/migration/outcome.js';
import { IDS, JournalOfBytes, bytesOf, entry, journalsOf, truthOf } from '../harness/damaged-journals.js';

const SIDES: readonly Side[] = ['source', 'destination'];

/** As `expect` in what is done hundreds of thousands of times. */
function verify(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(what);
}

type State = JournalEntry['state'] | 'nothing' | 'in doubt';

/** What is answered; a refusal must name lines that are faulty. */
async function answer<T>(
  asked: Promise<T>,
  checkFaults: (error: HtabJournalError) => void,
): Promise<T | 'in doubt'> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof HtabJournalError)) throw error;
    checkFaults(error);
    return 'in doubt';
  }
}

interface Damage {
  readonly what: string;
  readonly bytes: Buffer;
  /** The flipped bit's byte, or where the file was cut. */
  readonly at: number;
  readonly kind: JournalFault['kind'];
}

function* flipsOf(bytes: Buffer): Generator<Damage> {
  // The first two bytes tell a journal from another file: see below.
  for (let bit = 16; bit < bytes.length * 8; bit++) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    yield { what: `bit ${bit} flipped`, bytes: damaged, at: bit >> 3, kind: 'damaged' };
  }
}

/** A cut at the end of a line, or before the first line's start is whole, cannot be told from a journal that never had more. */
function* cutsOf(bytes: Buffer, ends: readonly number[]): Generator<Damage> {
  for (let length = 3; length < bytes.length; length++) {
    if (ends.includes(length)) continue;
    yield { what: `cut to ${length} bytes`, bytes: bytes.subarray(0, length), at: length, kind: 'cut' };
  }
}

function checkFaultsOf({ bytes, at, kind, what }: Damage): (error: HtabJournalError) => void {
  return ({ faults, message }) => {
    // A bit that makes a newline makes two lines of one.
    verify(faults.length <= 2, `${what}: ${faults.length} lines named`);
    let isNamed = false;
    for (const { line, byteOffset, kind: found } of faults) {
      verify(found === kind, `${what}: ${found}`);
      const before = bytes.subarray(0, byteOffset).toString('latin1');
      const isPlace = (before === '' || before.endsWith('\n')) && line === before.split('\n').length;
      verify(isPlace, `${what}: line ${line} does not begin at byte ${byteOffset}`);
      const end = bytes.indexOf('\n', byteOffset);
      isNamed ||= at >= byteOffset && (end < 0 || at <= end);
      verify(message.includes(`line ${line} (byte ${byteOffset})`), `${what}: ${message}`);
    }
    verify(isNamed, `${what}: the line of byte ${at} is not named`);
  };
}

/** Whether what is said of a migration can be said if this is true of it. */
function mayBeSaid(said: State, truth: State, side: Side, kind: JournalFault['kind']): boolean {
  if (said === 'in doubt' || said === truth) return true;
  if (kind === 'damaged') return false;
  // It claims nothing: the source goes and asks; a destination that does not know leaves a source as it is.
  return side === 'source' ? said === 'pending' : said === 'nothing';
}

async function check(damage: Damage, side: Side, truth: ReadonlyMap<string, State>): Promise<void> {
  const { what, bytes, kind } = damage;
  const checkFaults = checkFaultsOf(damage);
  const journal = await JournalOfBytes.open(bytes);
  for (const id of IDS) {
    const is = truth.get(id) ?? 'nothing';
    const name = `${what}, ${id} is ${is}`;
    const found = await answer(journal.find(side, id), checkFaults);
    const said = found === 'in doubt' ? found : (found?.state ?? 'nothing');
    verify(mayBeSaid(said, is, side, kind), `${name}, found ${said}`);

    const begun = await journal.begin(entry(side, id, 'pending')).then(
      () => true,
      () => false,
    );
    if (begun) verify(kind === 'cut' && said !== 'committed' && said !== 'aborted', `${name}, begun`);

    if (side === 'source') continue;
    const asked = { migrationId: id, digest: entry(side, id, 'pending').digest };
    const answered = await answer(abortUnlessDecided(journal, asked), checkFaults);
    const outcome = answered === 'in doubt' ? answered : answered.outcome;
    const right: readonly State[] = is === 'pending' ? ['aborted'] : [is];
    const isRight = outcome === 'unknown' ? kind === 'cut' || is === 'nothing' : right.includes(outcome);
    verify(outcome === 'in doubt' || isRight, `${name}, told ${outcome}`);
  }
  const error = await journal.entries(side).then(
    (all) => expect.unreachable(`${what}: ${all.length} entries, and not a word about damage`),
    (reason: unknown) => reason as HtabJournalError,
  );
  checkFaults(error);
  for (const { migrationId, state } of error.proven) {
    verify(mayBeSaid(state, truth.get(migrationId)!, side, kind), `${what}, listed ${state}`);
  }
}

describe.each(SIDES)('a journal of a %s', (side) => {
  const journals = Object.entries(journalsOf(side));

  test.each(journals)('%s: with any bit flipped claims nothing that is not true', async (_, lines) => {
    const { bytes } = bytesOf(lines);
    const truth = truthOf(lines, side);
    for (const damage of flipsOf(bytes)) await check(damage, side, truth);
  });

  test.each(journals)('%s: cut at any byte claims nothing that is not true', async (_, lines) => {
    const { bytes, ends } = bytesOf(lines);
    const truth = truthOf(lines, side);
    for (const damage of cutsOf(bytes, ends)) await check(damage, side, truth);
  });
});
