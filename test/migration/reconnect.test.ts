import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { sleep } from '../../lib/base/time.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { ReconnectingEvent } from '../../lib/migration/events.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { FaultScript } from '../../lib/testing/faults.js';
import type { OpenHtabOptions } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { cutAfter } from './harness/linked-streams.js';
import type { TestGuest } from './harness/test-guest.js';
import { digestOf, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { Network, type Wires } from './harness/network.js';
import { frameWire } from './harness/faulty-wire.js';
import { moveGuest, power8, valueOf } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a connection that breaks', () => {
  test('costs a resend of the table, not another scan: the guest runs on, and its table is read only once', async () => {
    const guest = await startGuest();
    const opened: (OpenHtabOptions | undefined)[] = [];
    const openHtab = guest.vm.openHtab.bind(guest.vm);
    vi.spyOn(guest.vm, 'openHtab').mockImplementation((options) => {
      opened.push(options);
      return openHtab(options);
    });
    const wires = (number: number): Wires => (number <= 2 ? { fromSource: cutAfter(12_000) } : {});
    const { sent, received, target } = await moveGuest(guest, { wires });
    expect(valueOf(sent)).toMatchObject({ attempts: 3, acknowledged: 'directly' });
    expect(valueOf(received).attempts).toBe(3);
    expect(valueOf(received).digest()).toBe(valueOf(sent).digest());
    // All others look at a few entries after the pause.
    expect(opened.filter((options) => options?.startIndex === undefined)).toHaveLength(1);
    expect(valueOf(sent).passes[0]).toMatchObject({ live: true, changedEntries: undefined });
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('while the guest stands still lets it run on until the source is back', async () => {
    const guest = await startGuest();
    const wires = (number: number): Wires =>
      number === 1 ? { fromSource: frameWire((type) => type === 'prepare', 'reset-before') } : {};
    const { sent } = await moveGuest(guest, { wires });
    expect(valueOf(sent).attempts).toBe(2);
    expect(guest).toMatchObject({ state: 'paused', pauses: 2, resumes: 1 });
  });

  test('is given up once the limits are reached, with what ended the last one', async () => {
    const guest = await startGuest();
    const wires = (): Wires => ({ fromSource: cutAfter(10_000) });
    const { sent, received, target, network } = await moveGuest(guest, { wires, send: { maxReconnects: 3 } });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(network.connections).toBe(4);
    expect((reasonOf(received) as Error).message).toContain('the listener ended');
    expect(guest.state).toBe('running');
    expect(target.table!.validCount).toBe(0);
  });

  test('after a longer silence than reconnectMs is made again: the time counts from the loss', async () => {
    const guest = await startGuest(50);
    const script = new FaultScript([{ kind: 'run', call: 'write', nth: 1, action: () => sleep(5000) }]);
    const network = new Network((number) =>
      number === 1 ? { fromDestination: frameWire((type) => type === 'applied', 'cut') } : {},
    );
    const sending = sendHpt(guest.vm, network.connect, guest.options({ reconnectMs: 1000 }));
    const receiving = receiveHpt(script.wrapVm(power8()), network, { reconnectMs: 1000 });
    const [sent, received] = await settleInFakeTime(Promise.all([sending, receiving]));
    expect(sent.attempts).toBe(2);
    expect(received.digest()).toBe(sent.digest());
  });

  test('and does not come back in time ends the destination', async () => {
    const guest = await startGuest();
    const network = new Network(() => ({ fromSource: cutAfter(10_000) }));
    const sending = sendHpt(guest.vm, await network.connect(), guest.options());
    const receiving = receiveHpt(power8(), network, { reconnectMs: 5000 });
    const [sent, received] = await settleInFakeTime(Promise.allSettled([sending, receiving]));
    expect(sent.status).toBe('rejected');
    expect((reasonOf(received) as Error).message).toContain('has not connected again within 5000 ms');
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

describe('a source that gives up for good tells the destination', () => {
  async function reasons(guest: TestGuest, more: Parameters<typeof moveGuest>[1]): Promise<Error[]> {
    const { sent, received } = await moveGuest(guest, more);
    return [sent, received].map((side) => reasonOf(side) as Error);
  }

  test('where its VM has gone to radix and has no table to begin again with', async () => {
    const guest = await startGuest(4000, 1, new EmulatedVm({ host: 'power9' }));
    const onProgress = ({ complete }: { readonly complete: boolean }): void => {
      if (complete && guest.vm.hptOrder !== undefined) void guest.vm.configureMmu('radix');
    };
    const [sent, received] = await reasons(guest, { send: { onProgress } });
    expect(sent!.message).toContain('the guest has no hashed page table');
    expect(received!.message).toBe(`the source reports: ${sent!.message}`);
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test.each([0, 2])(
    'after %d connections beyond the first, if no more are allowed',
    async (maxReconnects) => {
      const guest = await startGuest();
      const wires = (): Wires => ({ fromDestination: frameWire((type) => type === 'applied', 'damaged') });
      const [sent, received] = await reasons(guest, { wires, send: { maxReconnects } });
      expect(sent!.message).toContain('CRC32 is wrong');
      expect(received!.message).toBe(`the source reports: ${sent!.message}`);
    },
  );
});

describe('a destination that has not answered', () => {
  const silent = (): Wires => ({ fromDestination: frameWire((type) => type === 'welcome', 'reset-before') });
  const badProtocol = (): Wires => ({
    fromDestination: () => ({ bytes: Buffer.from('HTTP/1.1 400\r\n\r\n'), cut: true }),
  });

  test.each([
    ['refuses the connection', undefined],
    ['ends it before its welcome', silent],
    ['speaks another protocol', badProtocol],
  ])('and %s ends the migration at once', async (_name, wires) => {
    const guest = await startGuest(200);
    const network = new Network(wires);
    network.listening = wires !== undefined;
    const begun = performance.now();
    const settled = Promise.allSettled([
      sendHpt(guest.vm, network.connect, guest.options()),
      receiveHpt(power8(), network, { reconnectMs: 0 }),
    ]);
    await vi.waitFor(() => {
      expect(network.connections).toBe(1);
    });
    network.close();
    const [sent] = await settleInFakeTime(settled);
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(network.connections).toBe(1);
    expect(performance.now() - begun).toBeLessThan(3000);
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test('is waited for as long as waitMs, and every attempt is told', async () => {
    const guest = await startGuest(200);
    const network = new Network();
    network.listening = false;
    const attempts: ReconnectingEvent[] = [];
    const listener = (event: unknown): unknown => {
      if (attempts.push(event as ReconnectingEvent) === 3) network.listening = true;
      return undefined;
    };
    subscribe('kvm-htab:reconnecting', listener);
    onTestFinished(() => void unsubscribe('kvm-htab:reconnecting', listener));
    const both = [
      sendHpt(guest.vm, network.connect, guest.options({ waitMs: 10_000, migrationId: 'late' })),
      receiveHpt(power8(), network),
    ] as const;
    const [sent] = await settleInFakeTime(Promise.all(both));
    expect(sent.attempts).toBe(4);
    expect(attempts).toMatchObject([
      { migrationId: 'late', attempt: 2, maxAttempts: 17, delayMs: 100 },
      { attempt: 3, delayMs: 200 },
      { attempt: 4, delayMs: 400 },
    ]);
    expect((attempts[0]!.error as Error).cause).toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('within waitMs ends the migration, though reconnectMs is longer', async () => {
    const guest = await startGuest(200);
    const network = new Network();
    network.listening = false;
    const sending = sendHpt(guest.vm, network.connect, guest.options({ waitMs: 1000, reconnectMs: 60_000 }));
    const [sent] = await settleInFakeTime(Promise.allSettled([sending]));
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION', cause: { code: 'ECONNREFUSED' } });
    // After 0, 100, 300 and 700 ms; the next one would come after 1500.
    expect(network.connections).toBe(4);
  });
});
