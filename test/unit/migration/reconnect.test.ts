import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../../lib/errors.js';
import { HptReader } from '../../../lib/io/reader.js';
import { receiveHpt } from '../../../lib/migration/destination.js';
import { MemoryJournal } from '../../../lib/migration/journal.js';
import { answerOutcomes } from '../../../lib/migration/outcome.js';
import { sendHpt } from '../../../lib/migration/source.js';
import { FaultScript } from '../../../lib/testing/faults.js';
import { resizeTable } from '../../../lib/testing/resize.js';
import type { HtabVm } from '../../../lib/vm/contract.js';
import { cutAfter, link } from './link.js';
import type { TestGuest } from './machines.js';
import {
  ORDER,
  bootGuest,
  digestOf,
  reasonOf,
  settleInFakeTime,
  startGuest,
  useFakeTime,
} from './machines.js';
import { Network, type Wires } from './network.js';
import { frameWire } from './wires.js';
import { move, power8, valueOf } from './move.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a connection that breaks', () => {
  test('costs a resend of the table, not another scan: the guest runs on, and its table is read only once', async () => {
    const guest = await startGuest();
    const script = new FaultScript();
    const wires = (number: number): Wires => (number <= 2 ? { fromSource: cutAfter(12_000) } : {});
    const { sent, received, target } = await move(guest, { source: script.wrapVm(guest.vm), wires });
    expect(valueOf(sent)).toMatchObject({ attempts: 3, acknowledged: 'directly' });
    expect(valueOf(received).attempts).toBe(3);
    expect(valueOf(received).digest()).toBe(valueOf(sent).digest());
    // The second is the look at a few entries after the pause.
    expect(script.calls('openHtab')).toBe(2);
    expect(valueOf(sent).passes[0]).toMatchObject({ live: true, changedEntries: undefined });
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('while the guest stands still lets it run on until the source is back', async () => {
    const guest = await startGuest();
    const wires = (number: number): Wires =>
      number === 1 ? { fromSource: frameWire((type) => type === 'prepare', 'reset-before') } : {};
    const { sent } = await move(guest, { wires });
    expect(valueOf(sent).attempts).toBe(2);
    expect(guest).toMatchObject({ state: 'paused', pauses: 2, resumes: 1 });
  });

  test('is given up once the limits are reached, with what ended the last one', async () => {
    const guest = await startGuest();
    const wires = (): Wires => ({ fromSource: cutAfter(10_000) });
    const { sent, received, target, network } = await move(guest, { wires, send: { maxReconnects: 3 } });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(network.connections).toBe(4);
    expect((reasonOf(received) as Error).message).toContain('no more connections');
    expect(guest.state).toBe('running');
    expect(target.table!.validCount).toBe(0);
  });

  test('and does not come back in time ends the destination', async () => {
    const guest = await startGuest();
    const network = new Network(() => ({ fromSource: cutAfter(10_000) }));
    const sending = sendHpt(guest.vm, await network.connect(), guest.options());
    const receiving = receiveHpt(power8(), network, { reconnectMs: 5000 });
    const [sent, received] = await settleInFakeTime(Promise.allSettled([sending, receiving]));
    expect(sent.status).toBe('rejected');
    expect((reasonOf(received) as Error).message).toContain('did not come back within 5000 ms');
  });

  test('at the commit is asked about over another one', async () => {
    const guest = await startGuest();
    const journal = new MemoryJournal();
    const network = new Network((number) =>
      number === 1 ? { fromDestination: frameWire((type) => type === 'committed', 'lost') } : {},
    );
    const target = power8();
    const receiving = receiveHpt(target, network, { journal }).then((report) => {
      void answerOutcomes(journal, network);
      return report;
    });
    const sending = sendHpt(guest.vm, network.connect, guest.options());
    const [sent, received] = await settleInFakeTime(Promise.all([sending, receiving]));
    expect(sent).toMatchObject({ acknowledged: 'asked', attempts: 1 });
    expect(received.digest()).toBe(sent.digest());
    expect(guest).toMatchObject({ state: 'paused', resumes: 0 });
    network.close();
  });

  test('at the commit, with nobody left to ask, is in doubt until the signal or the limit ends the asking', async () => {
    for (const end of ['limit', 'signal'] as const) {
      const guest = await startGuest(200);
      const network = new Network(() => ({
        fromDestination: frameWire((type) => type === 'committed', 'cut'),
      }));
      const receiving = receiveHpt(power8(), network);
      const controller = new AbortController();
      const sending = sendHpt(
        guest.vm,
        network.connect,
        guest.options({ signal: controller.signal, reconnectMs: 60_000 }),
      );
      const settled = Promise.allSettled([sending, receiving]);
      void receiving.then(() => {
        network.listening = false;
        if (end === 'signal') setTimeout(() => controller.abort(new Error('enough')), 1500);
      });
      const begun = performance.now();
      const [sent] = await settleInFakeTime(settled);
      expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
      expect((reasonOf(sent) as Error).message).toContain('kvm-htab resolve');
      expect(performance.now() - begun > 40_000).toBe(end === 'limit');
      expect(guest).toMatchObject({ state: 'paused', resumes: 0 });
    }
  });
});

describe('a table that is resized in mid-migration', () => {
  function resizing(guest: TestGuest, times: number, order = ORDER + 1): HtabVm {
    const action = async (): Promise<void> => {
      await resizeTable(guest.vm, order);
      guest.workload.step(2000);
    };
    return new FaultScript([{ kind: 'run', call: 'read', nth: 4, times, action }]).wrapVm(guest.vm);
  }

  test('is moved from the start, with its new order', async () => {
    const guest = await bootGuest();
    const { sent, received, target } = await move(guest, { source: resizing(guest, 1) });
    expect(valueOf(sent)).toMatchObject({ order: ORDER + 1, attempts: 2 });
    expect(valueOf(received).order).toBe(ORDER + 1);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('is refused by name where there is only one connection', async () => {
    const guest = await bootGuest();
    const [ours, theirs] = link();
    const sending = sendHpt(resizing(guest, 1), ours, guest.options());
    const [sent, received] = await settleInFakeTime(
      Promise.allSettled([sending, receiveHpt(power8(), theirs)]),
    );
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'order-changed' });
    expect(received.status).toBe('rejected');
  });

  test.each([true, false])(
    'to the order it had shows in its content only, recheckSource %j',
    async (recheckSource) => {
      const guest = await bootGuest();
      const source = resizing(guest, 1, ORDER);
      const { sent } = await move(guest, { source, send: { recheckSource } });
      expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
      expect(guest.state).toBe('running');
    },
  );

  test('is given up after so many restarts', async () => {
    const guest = await bootGuest();
    const { sent } = await move(guest, {
      source: resizing(guest, 1),
      send: { maxRestarts: 0 },
    });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'order-changed' });
  });
});

describe('a reader', () => {
  test('that lost changes is replaced, and the migration begins again', async () => {
    const guest = await startGuest();
    const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 6, errno: 'EFAULT', applied: true }]);
    const { sent, target } = await move(guest, { source: script.wrapVm(guest.vm) });
    expect(valueOf(sent).attempts).toBe(2);
    expect(script.calls('openHtab')).toBe(3);
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
    const { sent, target } = await move(guest, { source });
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
    const { sent } = await move(guest, {
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
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    await thief.close();
  });

  test('on the same VM keeps a second one away', async () => {
    const guest = await startGuest();
    const other = await HptReader.open(guest.vm);
    const { sent } = await move(guest);
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'busy' });
    await other.close();
  });
});
