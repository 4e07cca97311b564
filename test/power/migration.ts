import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { SeededRandom } from '../../lib/base/random.js';
import { checkGoesOn, compareWithUnmoved, startChecker } from './checker.js';
import { Command } from './command.js';
import { Migration } from './migration-commands.js';
import { killReceiver, type KillOutcome } from './migration-kill.js';
import type { Test } from './runner.js';
import { htabDescriptors } from './vmm.js';

const MOVES = 3;
/** Longest time of one migration and of the start of its processes; they take a tenth of it on an idle machine. */
const MIGRATION_MS = 180_000;
const COMPARE_MS = 240_000;
/** Then it is seen whether it has come to harm: what it has done must all be done once more by an unmoved guest. */
const KILLS_PER_GUEST = 5;

/**
 * The command `kvm-htab`, in processes of its own, and real guests.
 *
 * @param seed of the moments at which receivers are killed
 * @param kills how many are
 */
export function migrationSuite(test: Test, seed: number, kills: number): void {
  const folder = (): string => mkdtempSync(join(tmpdir(), 'migration-'));

  test(
    'a guest that runs on two vcpus is moved three times, over TLS, and computes what it computes unmoved',
    async (t) => {
      await using guest = await startChecker(0, 2);
      const journals = folder();
      for (let commits = 1; commits <= MOVES; commits++) {
        await using migration = new Migration(guest, journals, t.signal);
        await migration.begin();
        t.note(await migration.complete());
        assert.equal((await checkGoesOn(guest)).commits, commits);
      }
      t.note(`compared at iteration ${await compareWithUnmoved(guest)}`);
    },
    { timeoutMs: MOVES * MIGRATION_MS + COMPARE_MS },
  );

  test(
    'a receiver is killed at any moment: the guest goes on where the sender says, and only there',
    async (t) => {
      const journals = folder();
      const random = new SeededRandom(seed);
      const counts: Record<KillOutcome, number> = { stayed: 0, moved: 0, 'in doubt': 0 };
      for (let trial = 0; trial < kills;) {
        await using guest = await startChecker(0);
        for (const last = Math.min(trial + KILLS_PER_GUEST, kills); trial < last; trial++) {
          const { outcome, text } = await killReceiver(guest, journals, random, trial, t.signal);
          counts[outcome]++;
          t.note(`kill ${trial + 1}: ${text}`);
        }
        t.note(`compared at iteration ${await compareWithUnmoved(guest)}`);
      }
      t.note(`seed ${seed}, ${kills} kills: ${JSON.stringify(counts)}`);
    },
    { timeoutMs: kills * MIGRATION_MS + Math.ceil(kills / KILLS_PER_GUEST) * COMPARE_MS },
  );

  test('kvm-htab probe finds the machine usable', async ({ signal }) => {
    await using probe = Command.start(['probe', '--quiet'], signal);
    await probe.mustEnd(0);
  });

  test('kvm-htab doctor finds that this kernel behaves as known', async (t) => {
    const { signal } = t;
    const { stdout } = await promisify(execFile)(process.execPath, ['lib/cli/main.js', 'doctor'], { signal });
    for (const line of stdout.trimEnd().split('\n')) t.note(line);
    assert.match(stdout, /^asked \d{2,} questions: (\d+) answered as known, 0 otherwise/m);
    assert.match(stdout, /^trap 1, as known/m);
  });

  test('kvm-htab save takes a descriptor that it inherits', async ({ signal }) => {
    const file = join(folder(), 'snapshot');
    const place = ['--htab-fd', '3', '--order', '18'];
    await using save = Command.startInheriting(['save', '--quiet', ...place, file], signal);
    await save.mustEnd(0);
    await checkLauncherSnapshot(file);
  });

  test('kvm-htab save takes a descriptor out of a process that knows nothing of it', async ({ signal }) => {
    const file = join(folder(), 'snapshot');
    // Ends when its input does.
    const owner = spawn('bin/launcher', ['cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      owner.stdin.write('\n');
      await once(owner.stdout, 'data');
      const pid = owner.pid!;
      const { number } = htabDescriptors(pid).find(({ access }) => access === 'read')!;
      const place = ['--pid', String(pid), '--pid-fd', String(number), '--order', '18'];
      await using save = Command.start(['save', '--quiet', ...place, file], signal);
      await save.mustEnd(0);
      await checkLauncherSnapshot(file);
    } finally {
      owner.stdin.end();
    }
  });
}

/** The table of vmm/launcher.c has one entry, to which the kernel adds its bit 0x40 (kernel-abi.md 3.1). */
async function checkLauncherSnapshot(file: string): Promise<void> {
  const { table } = await readSnapshot(file);
  assert.deepEqual([table.order, table.validCount, table.get(5)], [18, 1, { v: 0x51n, r: 0x190n }]);
}
