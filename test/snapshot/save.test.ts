import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { HtabStateError } from '../../lib/base/errors.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptReader } from '../../lib/io/reader.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import type { GuestCallbacks } from '../../lib/precopy/guest-options.js';
import type { PassProgress } from '../../lib/precopy/pass-progress.js';
import { saveSnapshot, type SaveOptions } from '../../lib/snapshot/save.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { scratchFolder } from '../scratch.js';
import { ORDER, busyVm, frameOffsets } from './support.js';

const root = scratchFolder();
const newPath = (): string => path.join(mkdtempSync(path.join(root, 'folder-')), 'table');

/** Counts how often a guest is paused and resumed. */
function control(actions: Partial<GuestCallbacks> = {}): GuestCallbacks & { readonly calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    pause: async () => {
      calls.push('pause');
      await actions.pause?.();
    },
    resume: async () => {
      calls.push('resume');
      await actions.resume?.();
    },
  };
}

/** Nothing but the file `table`, or nothing at all, is in its folder. */
const neighbours = (file: string): string[] => readdirSync(path.dirname(file));

describe('saveSnapshot', () => {
  test('makes one pass over a stopped guest, and one that finds no change', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    const report = await saveSnapshot(vm, file, { host: 'power8' });
    expect(report).toMatchObject({
      order: ORDER,
      backend: 'emulated',
      host: 'power8',
      headerByteOrder: 'LE',
      validEntries: vm.table!.validCount,
      digest: digestTable(vm.table!),
      quiescent: true,
      stopMs: undefined,
      fileBytes: readFileSync(file).length,
    });
    expect(report.passes).toHaveLength(2);
    expect(report.passes[1]).toEqual({ validEntries: 0, invalidEntries: 0, bytes: 0 });
    const { table, info } = await readSnapshot(file);
    expect(compareTables(table, vm.table!).count).toBe(0);
    const { stopMs: _, sourceRechecked, ...saved } = report;
    expect(sourceRechecked).toBe(true);
    expect(info).toEqual(saved);
    expect(neighbours(file)).toEqual(['table']);
    // Its reader is closed: another may be opened.
    await (await HptReader.open(vm)).close();
  });

  test('saves an empty table, one larger than a frame, and one in user space', async () => {
    const empty = new EmulatedVm();
    await empty.allocateHpt(21);
    const emptyFile = newPath();
    await saveSnapshot(empty, emptyFile);
    expect((await readSnapshot(emptyFile)).table.validCount).toBe(0);

    const dense = new EmulatedVm();
    await dense.allocateHpt(22);
    for (let ptex = 0; ptex < 150_000; ptex++) dense.hcall(0x08, [1n << 39n, BigInt(ptex), 0x11n, 0x190n]);
    const denseFile = newPath();
    await saveSnapshot(dense, denseFile);
    const bytes = readFileSync(denseFile);
    expect(frameOffsets(bytes).length - 1).toBeGreaterThan(6);
    const { table } = await readSnapshot(denseFile);
    expect(table.validCount).toBe(150_000);
    expect(digestTable(table)).toBe(digestTable(dense.table!));

    const image = new ImageVm();
    await image.allocateHpt(ORDER);
    new DataView(image.image!.buffer).setBigUint64(16 * 77, 0x11n);
    image.markChanged(77);
    const imageFile = newPath();
    expect((await saveSnapshot(image, imageFile)).backend).toBe('image');
    expect((await readSnapshot(imageFile)).table.get(77)).toEqual({ v: 0x11n, r: 0n });
  });

  test('requires the order of a descriptor, and closes it', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    const handle = await vm.openHtab();
    const report = await saveSnapshot(handle, file, { order: ORDER });
    expect(report).toMatchObject({ backend: 'kvm', host: null, digest: digestTable(vm.table!) });
    await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
  });

  test.each<[string, SaveOptions]>([
    ["the table's order", {}],
    ['limits that can be', { order: ORDER, maxPasses: 0 }],
    ['a signal that is not aborted', { order: ORDER, signal: AbortSignal.abort() }],
    ['a guest that can be stopped', { order: ORDER, guest: {} as GuestCallbacks }],
  ])('closes a descriptor also without %s', async (_, options) => {
    const { vm } = await busyVm(1);
    const handle = await vm.openHtab();
    await expect(saveSnapshot(handle, newPath(), options)).rejects.toThrow();
    await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
  });

  test('records the host of the VM', async () => {
    const { vm } = await busyVm(1);
    expect(await saveSnapshot(vm, newPath())).toMatchObject({ host: 'power8' });
  });

  test.each([
    ['pause', { resume: () => Promise.resolve() }],
    ['resume', { pause: () => Promise.resolve() }],
  ])('refuses a guest without %s at once', async (name, guest) => {
    const { vm } = await busyVm(1);
    await expect(saveSnapshot(vm, newPath(), { guest: guest as GuestCallbacks })).rejects.toMatchObject({
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
    const file = newPath();
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
          const file = newPath();
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
    const file = newPath();
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
      saveSnapshot(vm, newPath(), { guest, onProgress: ({ complete }) => complete && workload.step(600) }),
    ).rejects.toMatchObject({ state: 'busy' });
    expect(guest.calls).toEqual(['pause', 'resume']);
  });

  test('resumes the guest when reading fails after the pause, and when pausing itself fails', async () => {
    const { vm } = await busyVm();
    for (const [pause, message] of [
      [() => Promise.reject(new Error('the VMM is gone')), 'the VMM is gone'],
      [() => Promise.resolve(), 'a read failed'],
    ] as const) {
      // The first pass is one read, the second another; the third is the first of the stopped guest.
      const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 3, errno: 'EFAULT' }]);
      const guest = control({ pause });
      const file = newPath();
      await expect(saveSnapshot(script.wrapVm(vm), file, { guest })).rejects.toThrow(message);
      expect(guest.calls).toEqual(['pause', 'resume']);
      expect(neighbours(file)).toEqual([]);
    }
  });

  test('rejects with the reason where the guest cannot be resumed, and leaves no file', async () => {
    const { vm } = await busyVm();
    const reason = new Error('it stays stopped');
    const file = newPath();
    const guest = control({ resume: () => Promise.reject(reason) });
    await expect(saveSnapshot(vm, file, { guest })).rejects.toMatchObject({
      code: 'ERR_HTAB_GUEST_STOPPED',
      cause: reason,
    });
    expect(neighbours(file)).toEqual([]);
  });

  test('reports both the failure and why the guest could not be resumed', async () => {
    const { vm } = await busyVm();
    const errors = [new Error('the VMM does not stop it'), new Error('the VMM is gone')] as const;
    const guest = control({
      pause: () => Promise.reject(errors[0]),
      resume: () => Promise.reject(errors[1]),
    });
    await expect(saveSnapshot(vm, newPath(), { guest })).rejects.toMatchObject({
      code: 'ERR_HTAB_GUEST_STOPPED',
      cause: { errors },
    });
  });

  test('rejects in time where pause or resume never settles, and names the state of the guest', async () => {
    const never = (): Promise<void> => new Promise(() => undefined);
    const late = 'did not settle within 50 ms';
    for (const [actions, error] of [
      [{ pause: never }, { state: 'busy', message: expect.stringContaining(`pause ${late}`) as unknown }],
      [
        { resume: never },
        {
          code: 'ERR_HTAB_GUEST_STOPPED',
          cause: { state: 'busy', message: expect.stringContaining(`resume ${late}`) as unknown },
        },
      ],
    ] as const) {
      const { vm } = await busyVm();
      const file = newPath();
      const guest = control(actions);
      await expect(saveSnapshot(vm, file, { guest, guestTimeoutMs: 50 })).rejects.toMatchObject(error);
      expect(guest.calls).toEqual(['pause', 'resume']);
      expect(neighbours(file)).toEqual([]);
    }
  });

  test('resumes the guest at its stop limit where the table is slow', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    const resumed: { now?: () => void } = {};
    const guest = control({
      resume: () => {
        resumed.now!();
        return Promise.resolve();
      },
    });
    const action = (): Promise<void> =>
      guest.calls.length === 0 ? Promise.resolve() : new Promise((resolve) => (resumed.now = resolve));
    const script = new FaultScript([{ kind: 'run', call: 'read', nth: 1, times: Infinity, action }]);
    const saving = saveSnapshot(script.wrapVm(vm), file, { guest, stopLimitMs: 50 });
    await expect(saving).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
      state: 'busy',
      message: expect.stringContaining('the guest reached its stop limit of 50 ms in pass ') as string,
    });
    expect(guest.calls).toEqual(['pause', 'resume']);
    expect(neighbours(file)).toEqual([]);
    // The reader is closed, and the next one is welcome.
    await saveSnapshot(vm, file);
  });

  test('resumes the guest at its stop limit where the disk hangs', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    const handle = await open(root);
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    const never = (): Promise<never> => new Promise(() => undefined);
    const guest = control({
      pause: () => {
        vi.spyOn(prototype, 'write').mockImplementation(function (this: FileHandle) {
          // It waits for the call in flight.
          this.close = never;
          return never();
        });
        return Promise.resolve();
      },
    });
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const saving = saveSnapshot(vm, file, { guest, stopLimitMs: 50 });
    await expect(saving).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'busy' });
    expect(guest.calls).toEqual(['pause', 'resume']);
  });

  test('ends with the signal during the pause, and resumes the guest', async () => {
    const { vm } = await busyVm();
    const controller = new AbortController();
    const reason = new Error('enough');
    const guest = control({
      pause: () => {
        controller.abort(reason);
        return new Promise(() => undefined);
      },
    });
    const saving = saveSnapshot(vm, newPath(), { guest, signal: controller.signal, guestTimeoutMs: 100 });
    await expect(saving).rejects.toBe(reason);
    expect(guest.calls).toEqual(['pause', 'resume']);
  });

  test('refuses a table of another order, and a descriptor that has been read before', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    await expect(saveSnapshot(vm, file, { order: 19 })).rejects.toThrow(RangeError);
    await expect(saveSnapshot(await vm.openHtab(), file, { order: 19 })).rejects.toMatchObject({
      state: 'order-changed',
      message: expect.stringContaining('as many as one of order 18 has') as unknown,
    });
    const larger = new EmulatedVm();
    await larger.allocateHpt(20);
    await expect(saveSnapshot(await larger.openHtab(), file, { order: 18 })).rejects.toMatchObject({
      state: 'order-changed',
    });
    const used = await vm.openHtab();
    await used.read(new Uint8Array(1 << 20));
    await expect(saveSnapshot(used, file, { order: ORDER })).rejects.toMatchObject({ reason: 'no-table' });
    expect(neighbours(file)).toEqual([]);
  });

  test('refuses a radix guest, whose descriptor always reads 0 bytes (2.3)', async () => {
    const { vm } = await busyVm(100, { host: 'power9' });
    const handle = await vm.openHtab();
    await vm.configureMmu('radix');
    await expect(saveSnapshot(handle, newPath(), { order: ORDER })).rejects.toMatchObject({
      reason: 'no-table',
      message: expect.stringContaining('named 0 of the table') as unknown,
    });
    await expect(saveSnapshot(vm, newPath())).rejects.toMatchObject({ reason: 'no-table' });
  });

  test('refuses a table that one of another order replaces meanwhile', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    let replaced: Promise<void> | undefined;
    const saving = saveSnapshot(vm, file, {
      onProgress: () => {
        replaced ??= vm.allocateHpt(19);
      },
    });
    await expect(saving).rejects.toMatchObject({ state: 'order-changed' });
    await replaced;
    expect(neighbours(file)).toEqual([]);
  });

  test('rejects with the reason of an abort, before it begins and between any two frames', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    const reason = new Error('enough');
    await expect(saveSnapshot(vm, file, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    for (const at of [1, 2, 3]) {
      const controller = new AbortController();
      const guest = control();
      let calls = 0;
      await expect(
        saveSnapshot(vm, file, {
          guest,
          signal: controller.signal,
          onProgress: () => {
            if (++calls === at) controller.abort(reason);
          },
        }),
      ).rejects.toBe(reason);
      expect(guest.calls.length % 2).toBe(0);
      expect(neighbours(file)).toEqual([]);
    }
  });

  test('does not pause the guest if the file cannot be created', async () => {
    const { vm } = await busyVm();
    const script = new FaultScript();
    const guest = control();
    await expect(
      saveSnapshot(script.wrapVm(vm), path.join(root, 'no', 'table'), { guest }),
    ).rejects.toMatchObject({ errnoName: 'ENOENT' });
    expect(script.calls('read')).toBe(0);
    expect(guest.calls).toEqual([]);
  });

  test('keeps the old file, whatever fails', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    writeFileSync(file, 'before');
    for (const nth of [1, 2]) {
      const script = new FaultScript([{ kind: 'errno', call: 'read', nth, errno: 'EFAULT' }]);
      await expect(saveSnapshot(script.wrapVm(vm), file)).rejects.toBeInstanceOf(HtabStateError);
      expect(readFileSync(file, 'utf8')).toBe('before');
      expect(neighbours(file)).toEqual(['table']);
    }
  });

  test.each([
    { guestTimeoutMs: 0 },
    { maxPasses: 0 },
    { maxPasses: 1.5 },
    { maxPasses: 2 ** 31 },
    { maxChangedEntries: -1 },
    { maxChangedEntries: Number.NaN },
  ])('throws a RangeError for options out of range: %j', async (options) => {
    const { vm } = await busyVm(0);
    await expect(saveSnapshot(vm, newPath(), options)).rejects.toThrow(RangeError);
  });

  test('throws a TypeError for a handle open for writing', async () => {
    const { vm } = await busyVm(0);
    const handle = await vm.openHtab({ access: 'write' });
    await expect(saveSnapshot(handle, newPath(), { order: ORDER })).rejects.toThrow(
      'must be open for reading',
    );
    await handle.close();
  });
});

describe('readSnapshot', () => {
  test('rejects with a typed error where the file is missing or not a regular file', async () => {
    await expect(readSnapshot(path.join(root, 'none'))).rejects.toMatchObject({
      code: 'ERR_HTAB_SYSTEM',
      errnoName: 'ENOENT',
    });
    await expect(readSnapshot('/dev/zero')).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
    await expect(readSnapshot(root)).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
  });

  test('names the place where a file is cut, or goes on after its end', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    await saveSnapshot(vm, file);
    const bytes = readFileSync(file);
    for (const length of [0, 7, 16, 100, bytes.length - 200, bytes.length - 1]) {
      writeFileSync(file, bytes.subarray(0, length));
      await expect(readSnapshot(file)).rejects.toMatchObject({
        code: 'ERR_HTAB_FORMAT',
        byteOffset: frameOffsets(bytes).findLast((offset) => offset <= length),
      });
    }
    writeFileSync(file, Buffer.concat([bytes, Buffer.from('x')]));
    await expect(readSnapshot(file)).rejects.toMatchObject({ byteOffset: bytes.length });
  });

  test('rejects with the reason of an abort', async () => {
    const { vm } = await busyVm();
    const file = newPath();
    await saveSnapshot(vm, file);
    const reason = new Error('enough');
    await expect(readSnapshot(file, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
