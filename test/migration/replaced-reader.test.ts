import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';
import { moveGuest, valueOf } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a reader', () => {
  test('that lost changes is replaced, and the migration begins again', async () => {
    const guest = await startGuest();
    const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 6, errno: 'EFAULT', applied: true }]);
    const { sent, target } = await moveGuest(guest, { source: script.wrapVm(guest.vm) });
    expect(valueOf(sent).attempts).toBe(2);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('that lost changes is replaced though its descriptor does not close', async () => {
    const guest = await startGuest();
    const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 6, errno: 'EFAULT', applied: true }]);
    const source = script.wrapVm(guest.vm);
    const openHtab = source.openHtab.bind(source);
    source.openHtab = async (options) => {
      const handle = await openHtab(options);
      const close = handle.close.bind(handle);
      handle.close = async () => {
        await close();
        throw new HtabSystemError('close', 'EIO', { operation: 'close a descriptor' });
      };
      source.openHtab = openHtab;
      return handle;
    };
    const { sent, target } = await moveGuest(guest, { source });
    expect(valueOf(sent).attempts).toBe(2);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('beside which another one takes changes away is found out by reading the stopped table again', async () => {
    const guest = await startGuest();
    const thief = await guest.vm.openHtab();
    const buffer = new Uint8Array(1 << 20);
    while ((await thief.read(buffer)) > 0);
    let frames = 0;
    const options = guest.options({ recheckSource: true });
    const { sent } = await moveGuest(guest, {
      send: {
        recheckSource: true,
        pause: async () => {
          guest.workload.step(200);
          await thief.read(buffer);
          await guest.pause();
        },
        onProgress: (progress) => {
          frames++;
          options.onProgress!(progress);
        },
      },
    });
    expect(frames).toBeGreaterThan(0);
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'replaced' });
    // It takes them from every restart too.
    expect(guest).toMatchObject({ state: 'running', pauses: 4, resumes: 4 });
    await thief.close();
  });

  test('on the same VM keeps a second one away', async () => {
    const guest = await startGuest();
    const other = await HptReader.open(guest.vm);
    const { sent } = await moveGuest(guest);
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'busy' });
    await other.close();
  });
});
