import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { linkStreams } from './harness/linked-streams.js';
import { ORDER, digestOf, migrate, reasonOf, startGuest } from './harness/test-guest.js';

const wholeMemory = [{ guestAddress: 0n, size: 1n << 30n, hostPageShift: 24, populated: true }];

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
