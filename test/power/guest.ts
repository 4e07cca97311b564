import assert from 'node:assert/strict';
import { RecordCursor } from '../../lib/records/cursor.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { encodeAvpn, hashPage, primaryGroup, type VirtualPage } from '../../lib/hpt/hash.js';
import { HptTable } from '../../lib/hpt/table.js';
import { readTable } from '../../lib/io/read-table.js';
import { HptReader } from '../../lib/io/reader.js';
import { encode, record, removal, render } from '../../lib/testing/conformance/stream.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import {
  H_CLEAR_MOD,
  H_CLEAR_REF,
  H_ENTER,
  H_PROTECT,
  H_READ,
  H_REMOVE,
} from '../../lib/vm/emulated/hcalls.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { CHECKER_ORDER, checkedStats, checkGoesOn, compareWithUnmoved, startChecker } from './checker.js';
import { readAll } from './read-all.js';
import type { Test } from './runner.js';
import { SteppedVm } from './stepped-vm.js';
import type { Vmm } from './vmm.js';

const REFERENCED = 0x100n;
const CHANGED = 0x80n;
/** Longest times on a busy machine. */
const MOVE_MS = 60_000;
const COMPARE_MS = 240_000;
/** The kernel's own bit of a returned v (kernel-abi.md 3.1). */
const LOCKED = 0x40n;

/**
 * Guests that run, in processes of their own.
 *
 * @param moves of a guest of two vcpus
 */
export function guestSuite(test: Test, moves: number): void {
  test('each change of a guest shows once: entered, loaded, stored, protected, cleared, removed', async () => {
    await using vm = await SteppedVm.create();
    await vm.allocateHpt(18);
    await using reader = await vm.openHtab();
    const ptex = 2331; // a group of its own, slot 3
    const page: VirtualPage = { segment: '256M', vsid: 0x123n, offset: 0n, basePageShift: 12 };
    assert.equal(primaryGroup(hashPage(page), 18) * 8 + 3, ptex);
    const v = encodeAvpn(page) | 1n;
    let r = 0x20_0012n;
    const later = async (...expected: string[]): Promise<void> => {
      assert.deepEqual(await readAll(reader), expected);
      assert.deepEqual(await readAll(reader), []);
    };
    const shows = (): Promise<void> => later(...render(encode(record(ptex, [[v | LOCKED, r]]))));
    const hcall = async (opcode: number, ...args: bigint[]): Promise<void> => {
      assert.equal((await vm.hcall(opcode, args))[0], 0n);
    };

    await later(...render(encode(removal(0, 16_384))));
    await hcall(H_ENTER, 1n << 39n, BigInt(ptex), v, r);
    await shows();
    assert.equal(await vm.access(ptex, { store: false }), 'ok');
    r |= REFERENCED;
    await shows();
    assert.equal(await vm.access(ptex, { store: true }), 'ok');
    r |= CHANGED;
    await shows();
    await hcall(H_PROTECT, 3n, BigInt(ptex));
    r |= 3n;
    await shows();
    assert.equal(await vm.access(ptex, { store: true }), 'fault');
    await later();
    await hcall(H_CLEAR_MOD, 0n, BigInt(ptex));
    r &= ~CHANGED;
    await shows();
    await hcall(H_CLEAR_REF, 0n, BigInt(ptex));
    r &= ~REFERENCED;
    await shows();
    await hcall(H_REMOVE, 0n, BigInt(ptex));
    await later(...render(encode(removal(ptex))));
  });

  test('an entry of an unmapped page shows no C that was cleared, though H_READ does until the next access (6)', async () => {
    await using vm = await SteppedVm.create();
    await using reader = await readPastEntry40(vm);
    const read = async (): Promise<bigint | undefined> => (await vm.hcall(H_READ, [0n, 40n]))[2];
    await vm.access(40, { store: true });
    await vm.vmm.command('unmap');
    assert.deepEqual(await readAll(reader), render(encode(record(40, [[0x51n, 0x10_0190n]]))));
    await vm.hcall(H_CLEAR_MOD, [0n, 40n]);
    assert.deepEqual(await readAll(reader), render(encode(record(40, [[0x51n, 0x10_0110n]]))));
    assert.equal(await read(), 0x10_0190n);
    await vm.access(40, { store: false });
    assert.equal(await read(), 0x10_0110n);
    assert.deepEqual(await readAll(reader), []);
  });

  test('KVM_GET_DIRTY_LOG collects C, which the later pass then shows (3.2)', async () => {
    await using vm = await SteppedVm.create();
    await using reader = await readPastEntry40(vm);
    await vm.access(40, { store: true });
    assert.ok((await vm.dirtyLog()).some((byte) => byte !== 0));
    assert.deepEqual(await readAll(reader), render(encode(record(40, [[0x51n, 0x10_0190n]]))));
  });

  test('passes over the table of a guest whose two vcpus never pause add up to its table', async (t) => {
    await using guest = await startChecker(0, 2);
    const copy = new HptTable(CHECKER_ORDER);
    const cursor = new RecordCursor({ order: CHECKER_ORDER });
    await using reader = new HptReader(await openRead(guest), { order: CHECKER_ORDER });
    for (let pass = 0; pass < 8; pass++) await foldPass(reader, cursor, copy);
    assert.equal(await guest.ask('pause'), 'ok paused');
    do await foldPass(reader, cursor, copy);
    while (!reader.quiescent);
    const fresh = await readTable(await openRead(guest), { order: CHECKER_ORDER });
    assert.deepEqual({ ...compareTables(copy, fresh) }, { count: 0, ptexes: [] });
    const stats = await checkedStats(guest);
    t.note(
      `${reader.passes} passes, ${fresh.validCount} valid entries, guest at iteration ${stats.iteration}`,
    );
  });

  test('while the guest runs reads go on and writes are EBUSY', async () => {
    await using guest = await startChecker(0);
    const { length } = await collectRefusals(guest);
    assert.ok(length > 0);
    await checkedStats(guest);
  });

  for (const [vcpus, commits] of [[1, 3] as const, [2, moves] as const]) {
    test(
      `the table of a guest with ${vcpus === 1 ? 'one vcpu' : 'two vcpus'} moves, and once stays: it computes what it computes unmoved`,
      async (t) => {
        await using guest = await startChecker(0, vcpus);
        await move(guest, 'drop');
        for (let done = 1; done <= commits; done++) {
          t.signal.throwIfAborted();
          await move(guest, 'commit');
          const { iteration, removals, fullGroups } = await checkGoesOn(guest);
          t.note(
            `move ${done} by iteration ${iteration}: ${removals} removals, ${fullGroups} full groups met`,
          );
        }
        t.note(`compared at iteration ${await compareWithUnmoved(guest)}`);
      },
      { timeoutMs: (commits + 1) * MOVE_MS + COMPARE_MS },
    );
  }
}

/** A reader of a new table, past its first pass: entry 40 maps a page that was never touched. */
async function readPastEntry40(vm: SteppedVm): Promise<HtabHandle> {
  await vm.allocateHpt(18);
  await using writer = await vm.openHtab({ access: 'write' });
  await writer.write(encode(record(40, [[0x11n, 0x10_0010n]])));
  const reader = await vm.openHtab();
  await readAll(reader);
  return reader;
}

function openRead(vmm: Vmm): Promise<HtabHandle> {
  return receiveHtab(vmm.socketPath, { request: 'open-read\n' });
}

async function foldPass(reader: HptReader, cursor: RecordCursor, table: HptTable): Promise<void> {
  for await (const chunk of reader.pass()) {
    cursor.push(chunk);
    foldRecords(cursor, table);
  }
}

/** Writes nothing into the running VM's table, until the kernel has refused it; reads go on meanwhile. */
async function collectRefusals(guest: Vmm): Promise<string[]> {
  await using reader = await openRead(guest);
  await using writer = await receiveHtab(guest.socketPath, { request: 'open-write-current\n' });
  const buffer = new Uint8Array(1 << 16);
  const refusals: string[] = [];
  while (refusals.length < 10) {
    await reader.read(buffer);
    await writer.write(new Uint8Array(0)).catch((error: unknown) => {
      assert.ok(error instanceof Error && 'errnoName' in error && error.errnoName === 'EBUSY');
      refusals.push(error.message);
    });
  }
  return refusals;
}

/** Copies the table to a new VM while the guest runs, then stops it for the rest, reads it back and goes on there, or here. */
async function move(guest: Vmm, outcome: 'commit' | 'drop'): Promise<void> {
  await using reader = new HptReader(await openRead(guest), { order: CHECKER_ORDER });
  await using writer = await receiveHtab(guest.socketPath, { request: 'open-write\n' });
  const forward = async (): Promise<void> => {
    for await (const chunk of reader.pass()) await writer.writeRecords(chunk);
  };
  for (let pass = 0; pass < 3; pass++) await forward();
  assert.equal(await guest.ask('pause'), 'ok paused');
  do await forward();
  while (!reader.quiescent);
  const here = await readTable(await openRead(guest), { order: CHECKER_ORDER });
  const next = await receiveHtab(guest.socketPath, { request: 'open-read-next\n' });
  const there = await readTable(next, { order: CHECKER_ORDER });
  assert.deepEqual({ ...compareTables(here, there) }, { count: 0, ptexes: [] });
  assert.equal(await guest.ask(outcome), 'ok');
  if (outcome === 'drop') assert.equal(await guest.ask('resume'), 'ok');
}
