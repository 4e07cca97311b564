import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { HptReader } from '../../lib/io/reader.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { PassProgress } from '../../lib/precopy/pass-progress.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { linkStreams } from './harness/linked-streams.js';
import { ORDER, TestGuest, digestOf, migrate, reasonOf, startGuest } from './harness/test-guest.js';

describe('a migration', () => {
  test('moves a changing table; source, destination and both reports agree on it', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm({ host: 'power8' });
    const { sent, received } = await migrate(guest.vm, target, linkStreams(), guest.options());
    if (sent.status === 'rejected' || received.status === 'rejected') throw reasonOf(sent) as Error;

    const digest = await digestOf(guest.vm);
    expect(await digestOf(target)).toBe(digest);
    expect(sent.value.digest()).toBe(digest);
    expect(received.value.digest()).toBe(digest);
    expect(sent.value.validEntries).toBe(guest.vm.table!.validCount);
    expect(received.value).toMatchObject({
      migrationId: sent.value.migrationId,
      order: ORDER,
      validEntries: sent.value.validEntries,
      passes: sent.value.passes.length,
      bytes: sent.value.passes.reduce((sum, { bytes }) => sum + bytes, 0),
    });
    expect(guest).toMatchObject({ state: 'paused', pauses: 1, resumes: 0 });
  });

  test('loses no change, whatever the guest does, in frames of any length', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 4096, max: 20_000 }),
        fc.nat(4),
        fc.nat(300),
        async (seed, frameBytes, maxPasses, stepsPerFrame) => {
          const guest = await startGuest(2000, seed);
          const target = new EmulatedVm({ host: 'power8' });
          const { sent } = await migrate(
            guest.vm,
            target,
            linkStreams(),
            guest.options({ frameBytes, maxPasses }, stepsPerFrame),
          );
          if (sent.status === 'rejected') throw sent.reason as Error;
          expect(await digestOf(target)).toBe(await digestOf(guest.vm));
          expect(sent.value.digest()).toBe(await digestOf(guest.vm));
        },
      ),
      { numRuns: 40 },
    );
  });

  test('makes live passes up to the limit, then passes until a whole one finds nothing', async () => {
    const guest = await startGuest();
    const { sent } = await migrate(
      guest.vm,
      new EmulatedVm(),
      linkStreams(),
      guest.options({ maxPasses: 3 }),
    );
    if (sent.status === 'rejected') throw sent.reason as Error;
    const { passes } = sent.value;
    expect(passes.map(({ pass, live }) => [pass, live])).toEqual([
      [1, true],
      [2, true],
      [3, true],
      [4, false],
      [5, false],
    ]);
    expect(passes[0]!.validEntries + passes[0]!.invalidEntries).toBe(2 ** (ORDER - 4));
    expect(passes[3]!.bytes).toBeGreaterThan(0);
    expect(passes[4]).toMatchObject({ validEntries: 0, invalidEntries: 0, bytes: 0 });
  });

  test('stops the guest after a pass that found few changes, however many passes were allowed', async () => {
    const guest = await startGuest();
    const options = guest.options({ maxPasses: 100, maxChangedEntries: 8 }, 0);
    const { sent } = await migrate(guest.vm, new EmulatedVm(), linkStreams(), options);
    if (sent.status === 'rejected') throw sent.reason as Error;
    expect(sent.value.passes.map(({ live }) => live)).toEqual([true, true, false]);
  });

  test('with maxPasses 0 moves everything while the guest stands still', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm();
    const { sent } = await migrate(guest.vm, target, linkStreams(), guest.options({ maxPasses: 0 }));
    if (sent.status === 'rejected') throw sent.reason as Error;
    expect(sent.value.passes.every(({ live }) => !live)).toBe(true);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('takes what the guest changed up to the end of its pause', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm({ host: 'power8' });
    const pause = async (): Promise<void> => {
      guest.workload.step(500);
      await guest.pause();
    };
    const { sent } = await migrate(guest.vm, target, linkStreams(), guest.options({ pause }, 0));
    if (sent.status === 'rejected') throw sent.reason as Error;
    expect(sent.value.passes.find(({ live }) => !live)!.validEntries).toBeGreaterThan(50);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('moves an empty table, if it is told that the guest has never run', async () => {
    const source = new EmulatedVm();
    await source.allocateHpt(ORDER);
    const target = new EmulatedVm();
    const options = new TestGuest(source).options({}, 0);
    const { sent, received } = await migrate(source, target, linkStreams(), options, { minEntries: 0 });
    expect([sent.status, received.status]).toEqual(['fulfilled', 'fulfilled']);
    expect(target.table!.validCount).toBe(0);
  });

  test('gives the target the order of the source, and nothing of what it had', async () => {
    const guest = await startGuest();
    const other = await startGuest(8000, 2);
    await migrate(guest.vm, other.vm, linkStreams(), guest.options());
    expect(await digestOf(other.vm)).toBe(await digestOf(guest.vm));
    const larger = new EmulatedVm({ host: 'power8' });
    await larger.allocateHpt(ORDER + 2);
    await migrate(guest.vm, larger, linkStreams(), guest.options());
    expect(larger.hptOrder).toBe(ORDER);
    expect(await digestOf(larger)).toBe(await digestOf(guest.vm));
  });

  test('goes from and to a table in user space', async () => {
    const guest = await startGuest();
    const image = new ImageVm();
    await migrate(guest.vm, image, linkStreams(), guest.options());
    expect(await digestOf(image)).toBe(await digestOf(guest.vm));
    const back = new ImageVm();
    const { sent } = await migrate(image, back, linkStreams(), guest.options({}, 0));
    expect(sent.status).toBe('fulfilled');
    expect(await digestOf(back)).toBe(await digestOf(guest.vm));
  });

  test('tells how it goes on: scanned rises to 1 within each pass, and changes show from the second pass on', async () => {
    const guest = await startGuest();
    const seen: PassProgress[] = [];
    const options = guest.options({ maxPasses: 2 });
    const { sent } = await migrate(guest.vm, new EmulatedVm(), linkStreams(), {
      ...options,
      onProgress: (progress) => {
        seen.push(progress);
        options.onProgress!(progress);
      },
    });
    if (sent.status === 'rejected') throw sent.reason as Error;
    for (const report of sent.value.passes) {
      const ofPass = seen.filter(({ pass }) => pass === report.pass);
      const scanned = ofPass.map((progress) => progress.scanned);
      expect(scanned).toEqual([...scanned].sort((a, b) => a - b));
      expect(ofPass.at(-1)).toMatchObject({
        scanned: 1,
        complete: true,
        live: report.live,
        bytes: report.bytes,
      });
    }
    const [first, second] = sent.value.passes;
    expect(seen.find(({ pass, complete }) => pass === 1 && complete)).toMatchObject({
      entries: first!.validEntries,
      changingEntries: undefined,
    });
    expect(seen.find(({ pass, complete }) => pass === 2 && complete)).toMatchObject({
      entries: second!.validEntries + second!.invalidEntries,
      changingEntries: second!.validEntries + second!.invalidEntries,
    });
  });

  test('leaves no reader on either table, and no channel open', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm();
    const ends = linkStreams();
    await migrate(guest.vm, target, ends, guest.options());
    for (const vm of [guest.vm, target]) await (await HptReader.open(vm)).close();
    await vi.waitFor(() => {
      expect(ends.map(({ destroyed }) => destroyed)).toEqual([true, true]);
    });
  });
});

describe('options', () => {
  test.each([
    [{ timeoutMs: 99 }, 'timeoutMs'],
    [{ maxPasses: -1 }, 'maxPasses'],
    [{ maxChangedEntries: 0.5 }, 'maxChangedEntries'],
    [{ frameBytes: 2 ** 20 + 1 }, 'frameBytes'],
    [{ frameBytes: 4095 }, 'frameBytes'],
    [{ bytesPerSecond: 0 }, 'bytesPerSecond'],
  ])('%j are refused, and the channel is left alone', async (options, name) => {
    const guest = await startGuest(0);
    const [ours] = linkStreams();
    await expect(sendHpt(guest.vm, ours, guest.options(options))).rejects.toThrow(
      `The value of "${name}" is out of range`,
    );
    expect(ours.destroyed).toBe(false);
    expect(ours.readableFlowing).toBe(null);
  });

  test('a source without a table is rejected', async () => {
    const [ours, theirs] = linkStreams();
    const source = new EmulatedVm();
    const receiving = receiveHpt(new EmulatedVm(), theirs);
    const pause = (): Promise<void> => Promise.resolve();
    await expect(sendHpt(source, ours, { pause, resume: pause })).rejects.toThrow('no hashed page table');
    await expect(receiving).rejects.toThrow('the source reports');
  });

  test('bytesPerSecond holds the live passes back, and not the last ones', async () => {
    const guest = await startGuest(1000);
    const { sent } = await migrate(
      guest.vm,
      new EmulatedVm(),
      linkStreams(),
      guest.options({ bytesPerSecond: 50_000 }, 5),
    );
    if (sent.status === 'rejected') throw sent.reason as Error;
    const [first] = sent.value.passes;
    // The first frame goes at once; every further one waits for those before it.
    expect(first!.durationMs).toBeGreaterThanOrEqual(((first!.bytes - 4096) / 50_000) * 1000 - 1);
  });
});
