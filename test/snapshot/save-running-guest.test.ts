import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import type { GuestCallbacks } from '../../lib/precopy/guest-options.js';
import type { PassProgress } from '../../lib/precopy/pass-progress.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { scratchFiles } from '../scratch.js';
import { busyVm, neighbours } from './support.js';
import { control } from './counted-guest.js';

const scratch = scratchFiles();

describe('saveSnapshot', () => {
  test.each([
    ['pause', { resume: () => Promise.resolve() }],
    ['resume', { pause: () => Promise.resolve() }],
  ])('refuses a guest without %s at once', async (name, guest) => {
    const { vm } = await busyVm(1);
    await expect(
      saveSnapshot(vm, scratch('table'), { guest: guest as GuestCallbacks }),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      option: name,
    });
  });

  test('pauses a running guest for the last passes, and saves its last state', async () => {
    const { vm, workload } = await busyVm();
    const guest = control({
      // What it does up to its pause counts; what it does after it has been resumed does not.
      pause: () => {
        workload.step(300);
        return Promise.resolve();
      },
    });
    const digests: string[] = [];
    const file = scratch('table');
    const seen: PassProgress[] = [];
    const report = await saveSnapshot(vm, file, {
      guest: {
        pause: guest.pause,
        resume: async () => {
          await guest.resume();
          digests.push(digestTable(vm.table!));
          workload.step(500);
        },
      },
      maxPasses: 5,
      maxChangedEntries: 100,
      onProgress: (progress) => {
        seen.push(progress);
        if (progress.complete && progress.live) workload.step(1200 / progress.pass ** 2);
      },
    });
    expect(guest.calls).toEqual(['pause', 'resume']);
    expect(digests).toEqual([report.digest]);
    expect(digestTable(vm.table!)).not.toBe(report.digest);
    const { table, info } = await readSnapshot(file);
    expect(digestTable(table)).toBe(report.digest);
    expect(info.quiescent).toBe(true);
    expect(report.passes.length).toBeGreaterThanOrEqual(4);
    expect(report.stopMs).toBeGreaterThan(0);

    const complete = seen.filter((progress) => progress.complete);
    expect(complete.map(({ pass }) => pass)).toEqual(report.passes.map((_, k) => k + 1));
    expect(complete.map(({ live }) => live)).toEqual(
      report.passes.map((_, k) => k < report.passes.length - 2),
    );
    expect(complete[0]).toMatchObject({
      scanned: 1,
      changingEntries: undefined,
      bytes: report.passes[0]!.bytes,
    });
    expect(complete[0]!.entries).toBe(report.passes[0]!.validEntries);
    expect(complete[1]!.changingEntries).toBe(
      report.passes[1]!.validEntries + report.passes[1]!.invalidEntries,
    );
    expect(
      seen.filter((progress) => !progress.complete).every(({ scanned }) => scanned > 0 && scanned <= 1),
    ).toBe(true);
  });

  test('saves the table at the pause, whatever the guest did before', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(400),
        fc.integer({ min: 1, max: 6 }),
        async (seed, steps, maxPasses) => {
          const { vm, workload } = await busyVm(2000, { seed });
          let running = true;
          const file = scratch('table');
          const report = await saveSnapshot(vm, file, {
            maxPasses,
            maxChangedEntries: 20,
            guest: {
              pause: () => {
                running = false;
                return Promise.resolve();
              },
              resume: () => Promise.resolve(),
            },
            onProgress: () => {
              if (running) workload.step(steps);
            },
          });
          expect(report.digest).toBe(digestTable(vm.table!));
          expect(digestTable((await readSnapshot(file)).table)).toBe(report.digest);
          expect(report.passes.length).toBeLessThanOrEqual(maxPasses + 2);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('refuses a table that keeps changing without a pause, or marks it where that is allowed', async () => {
    const { vm, workload } = await busyVm();
    const file = scratch('table');
    const onProgress = ({ complete }: PassProgress): void => {
      if (complete) workload.step(50);
    };
    await expect(saveSnapshot(vm, file, { maxPasses: 3, onProgress })).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
      state: 'busy',
      message:
        'the table still changes after 3 passes: the guest runs, or something else writes to its table',
    });
    expect(neighbours(file)).toEqual([]);

    const report = await saveSnapshot(vm, file, { maxPasses: 3, onProgress, allowChanging: true });
    expect(report).toMatchObject({ quiescent: false });
    expect(report.passes).toHaveLength(3);
    const { table, info } = await readSnapshot(file);
    expect(info.quiescent).toBe(false);
    expect(digestTable(table)).toBe(report.digest);
  });

  test('refuses a table that changes although the guest is paused, and resumes the guest', async () => {
    const { vm, workload } = await busyVm();
    const guest = control();
    await expect(
      saveSnapshot(vm, scratch('table'), {
        guest,
        onProgress: ({ complete }) => complete && workload.step(600),
      }),
    ).rejects.toMatchObject({ state: 'busy' });
    expect(guest.calls).toEqual(['pause', 'resume']);
  });
});
