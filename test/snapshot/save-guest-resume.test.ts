import { open, type FileHandle } from 'node:fs/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { scratchFiles, scratchFolder } from '../scratch.js';
import { busyVm, neighbours } from './support.js';
import { control } from './counted-guest.js';

const root = scratchFolder();
const scratch = scratchFiles();

describe('saveSnapshot', () => {
  test('resumes the guest when reading fails after the pause, and when pausing itself fails', async () => {
    const { vm } = await busyVm();
    for (const [pause, message] of [
      [() => Promise.reject(new Error('the VMM is gone')), 'the VMM is gone'],
      [() => Promise.resolve(), 'a read failed'],
    ] as const) {
      // The first pass is one read, the second another; the third is the first of the stopped guest.
      const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 3, errno: 'EFAULT' }]);
      const guest = control({ pause });
      const file = scratch('table');
      await expect(saveSnapshot(script.wrapVm(vm), file, { guest })).rejects.toThrow(message);
      expect(guest.calls).toEqual(['pause', 'resume']);
      expect(neighbours(file)).toEqual([]);
    }
  });

  test('rejects with the reason where the guest cannot be resumed, and leaves no file', async () => {
    const { vm } = await busyVm();
    const reason = new Error('it stays stopped');
    const file = scratch('table');
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
    await expect(saveSnapshot(vm, scratch('table'), { guest })).rejects.toMatchObject({
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
      const file = scratch('table');
      const guest = control(actions);
      await expect(saveSnapshot(vm, file, { guest, guestTimeoutMs: 50 })).rejects.toMatchObject(error);
      expect(guest.calls).toEqual(['pause', 'resume']);
      expect(neighbours(file)).toEqual([]);
    }
  });

  test('resumes the guest at its stop limit where the table is slow', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
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
    const file = scratch('table');
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
    const saving = saveSnapshot(vm, scratch('table'), {
      guest,
      signal: controller.signal,
      guestTimeoutMs: 100,
    });
    await expect(saving).rejects.toBe(reason);
    expect(guest.calls).toEqual(['pause', 'resume']);
  });
});
