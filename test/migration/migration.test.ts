import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { PassProgress } from '../../lib/precopy/pass-progress.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { linkStreams } from './harness/linked-streams.js';
import { ORDER, TestGuest, digestOf, migrate, reasonOf, startGuest } from './harness/test-guest.js';

const wholeMemory = [{ guestAddress: 0n, size: 1n << 30n, hostPageShift: 24, populated: true }];

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

describe('a migration that fails', () => {
  test('at an entry the target cannot map leaves the guest at the source and nothing at the target', async () => {
    const guest = await startGuest();
    // 64K pages of guest memory over host pages of 4K: every 64K entry is EIO (kernel-abi.md 4.4).
    const target = new EmulatedVm({
      pageShift: 12,
      memoryRegions: [{ guestAddress: 0n, size: 1n << 30n, hostPageShift: 12, populated: true }],
    });
    const before = await digestOf(guest.vm);
    const { sent, received } = await migrate(guest.vm, target, linkStreams(), guest.options({}, 0));
    const refusal = reasonOf(received) as HtabSystemError;
    expect(refusal).toBeInstanceOf(HtabSystemError);
    expect(refusal).toMatchObject({ errnoName: 'EIO', ptex: guest.vm.table!.valid.next(0) });
    expect(refusal.hint).toContain('the host cannot map the 64K page');
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect((reasonOf(sent) as Error).message).toContain('the destination reports: ');
    expect((reasonOf(sent) as Error).message).toContain(refusal.message.slice(0, 100));
    expect(target.table!.validCount).toBe(0);
    expect(await digestOf(guest.vm)).toBe(before);
    expect(guest).toMatchObject({ state: 'running', pauses: 0, resumes: 0 });
  });

  test('because POWER9 drops bits 52..61 of v does not pause the guest (3.1)', async () => {
    const guest = await startGuest();
    guest.vm.hcall(0x08, [1n << 39n, 7n, 0x0010_0000_0000_0001n, 0x190n]);
    const target = new EmulatedVm({ host: 'power9' });
    const { sent, received } = await migrate(guest.vm, target, linkStreams(), guest.options());
    expect((reasonOf(sent) as Error).message).toMatch(/^entry 7 uses bits 52..61 .* POWER8 hosts only$/);
    expect((reasonOf(received) as Error).message).toMatch(/^the source reports: entry 7 uses bits 52..61/);
    expect(target.table!.validCount).toBe(0);
    expect(guest).toMatchObject({ state: 'running', pauses: 0, resumes: 0 });
  });

  test('because the target does not keep what is written is noticed by reading it back, before the pause', async () => {
    const guest = await startGuest();
    guest.vm.hcall(0x08, [1n << 39n, 7n, 0x0010_0000_0000_0001n, 0x190n]);
    // A POWER9 host that passes for a POWER8 one.
    const target = new EmulatedVm({ host: 'power9' });
    const receive = { host: 'power8' } as const;
    const { sent, received } = await migrate(guest.vm, target, linkStreams(), guest.options(), receive);
    expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect((reasonOf(received) as Error).message).toMatch(/^entry 7 should be v=10000000000041 r=190/);
    expect(target.table!.validCount).toBe(0);
    expect(guest).toMatchObject({ state: 'running', pauses: 0, resumes: 0 });
  });

  test('because the target runs a guest does not touch its table', async () => {
    const guest = await startGuest();
    const other = await startGuest(8000, 2, new EmulatedVm({ host: 'power8', memoryRegions: wholeMemory }));
    other.vm.enterGuest();
    other.vm.runningVcpus = 1;
    const before = await digestOf(other.vm);
    const { sent, received } = await migrate(guest.vm, other.vm, linkStreams(), guest.options());
    expect(reasonOf(received)).toMatchObject({ errnoName: 'EBUSY', syscall: 'KVM_PPC_ALLOCATE_HTAB' });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(await digestOf(other.vm)).toBe(before);
  });

  test('because the source table was replaced in mid-migration says so', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm();
    let frames = 0;
    const { sent, received } = await migrate(guest.vm, target, linkStreams(), {
      ...guest.options(),
      onProgress: () => {
        if (++frames === 5) guest.vm.allocateUnguarded(ORDER + 1);
      },
    });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'order-changed' });
    expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(target.table!.validCount).toBe(0);
  });

  test('because the table never comes to rest after the pause lets the guest go on', async () => {
    const guest = await startGuest();
    const options = guest.options();
    const { sent, received } = await migrate(guest.vm, new EmulatedVm(), linkStreams(), {
      ...options,
      onProgress: () => {
        guest.workload.step(50);
      },
    });
    expect((reasonOf(sent) as Error).message).toContain(
      'still changes 16 passes after the guest was stopped',
    );
    expect(received.status).toBe('rejected');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });

  test('in the pause resumes the guest and passes the error on', async () => {
    const guest = await startGuest();
    const failure = new Error('the monitor does not answer');
    const pause = (): Promise<void> => Promise.reject(failure);
    const { sent, received } = await migrate(
      guest.vm,
      new EmulatedVm(),
      linkStreams(),
      guest.options({ pause }),
    );
    expect(reasonOf(sent)).toBe(failure);
    expect((reasonOf(received) as Error).message).toBe('the source reports: the monitor does not answer');
    expect(guest.resumes).toBe(1);
  });

  test('and cannot resume the guest says that it stands still, and why', async () => {
    const guest = await startGuest();
    const failure = new Error('the monitor does not answer');
    const { sent } = await migrate(
      guest.vm,
      new EmulatedVm({ host: 'power9' }),
      linkStreams(),
      guest.options({ pause: () => Promise.reject(failure), resume: () => Promise.reject(failure) }),
    );
    const error = reasonOf(sent) as Error;
    expect(error).toMatchObject({ code: 'ERR_HTAB_GUEST_STOPPED' });
    expect(error.message).toContain('could not be resumed');
    expect((error.cause as AggregateError).errors).toEqual([failure, failure]);
  });

  test('because the target cannot be emptied again says so', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm();
    let allocations = 0;
    const allocate = target.allocateHpt.bind(target);
    target.allocateHpt = (order) =>
      ++allocations === 1
        ? allocate(order)
        : Promise.reject(new HtabSystemError('ioctl', 'ENOMEM', { operation: 'x' }));
    const pause = (): Promise<void> => Promise.reject(new Error('no'));
    const { received } = await migrate(guest.vm, target, linkStreams(), guest.options({ pause }));
    expect((reasonOf(received) as Error).message).toContain('do not run the target');
  });
});

describe('a signal', () => {
  const stop = new Error('enough');

  test.each([1, 3, 6, 9])(
    'after %i frames ends both sides, with its own reason at the source',
    async (frames) => {
      const guest = await startGuest();
      const target = new EmulatedVm();
      const controller = new AbortController();
      let seen = 0;
      const { sent, received } = await migrate(guest.vm, target, linkStreams(), {
        ...guest.options({ signal: controller.signal, maxPasses: 2 }),
        onProgress: () => {
          if (++seen === frames) controller.abort(stop);
        },
      });
      expect(seen).toBeGreaterThanOrEqual(frames);
      expect(reasonOf(sent)).toBe(stop);
      expect((reasonOf(received) as Error).message).toBe('the source reports: enough');
      expect(guest.state).toBe('running');
      expect(target.table!.validCount).toBe(0);
    },
  );

  test('at the destination ends both sides, with its own reason there', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm();
    const controller = new AbortController();
    const { sent, received } = await migrate(guest.vm, target, linkStreams(), guest.options(), {
      signal: controller.signal,
      onProgress: ({ bytes }) => {
        if (bytes > 10_000) controller.abort(stop);
      },
    });
    expect(reasonOf(received)).toBe(stop);
    expect((reasonOf(sent) as Error).message).toBe('the destination reports: enough');
    expect(target.table!.validCount).toBe(0);
  });

  test('that is aborted already sends nothing and touches nothing', async () => {
    const guest = await startGuest();
    const target = new EmulatedVm();
    const { sent, received } = await migrate(
      guest.vm,
      target,
      linkStreams(),
      guest.options({ signal: AbortSignal.abort(stop) }),
      { signal: AbortSignal.abort(stop) },
    );
    expect([reasonOf(sent), reasonOf(received)]).toEqual([stop, stop]);
    expect(target.table).toBeUndefined();
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
