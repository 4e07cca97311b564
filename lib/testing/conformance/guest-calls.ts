import assert from 'node:assert/strict';
import type { HtabVm } from '../../vm/contract.js';
import { H_REMOVE } from '../../vm/emulated/hcalls.js';
import type { ConformanceContext } from './context.js';
import { record, type Entry } from './stream.js';

export const H_SUCCESS = 0n;
export const H_PARAMETER = -4n;
export const H_PTEG_FULL = -6n;
export const H_NOT_FOUND = -7n;

export const EXACT = 1n << 39n;
export const READ_4 = 1n << 37n;
export const AVPN = 1n << 31n;
export const ANDCOND = 1n << 30n;
export const MODIFIED = 1n << 62n;

/** 4K page 5 of segment 0, which hashes to the group of ptex 40; never touched, so R and C are clear. */
export const UNTOUCHED: Entry = [0x11n, 0x10_1010n];
export const REFERENCED = 0x100n;
export const CHANGED = 0x80n;

/** Makes a hypercall; the status as a signed number, then r4 and on. */
export async function hcall(
  t: ConformanceContext,
  vm: HtabVm,
  opcode: number,
  ...args: bigint[]
): Promise<bigint[]> {
  const [status = 0n, ...registers] = await t.guest(vm).hcall(opcode, args);
  return [BigInt.asIntN(64, status), ...registers];
}

/** Status alone. */
export async function status(
  t: ConformanceContext,
  vm: HtabVm,
  opcode: number,
  ...args: bigint[]
): Promise<bigint> {
  return (await hcall(t, vm, opcode, ...args))[0]!;
}

/**
 * Enters an entry until it has this slot. A kernel passes over a free slot whose lock it does not get at once, and a
 * processor may fail it for no reason.
 */
export async function expectSlot(
  t: ConformanceContext,
  vm: HtabVm,
  enter: () => Promise<bigint[]>,
  slot: bigint,
): Promise<void> {
  let answer = await enter();
  for (let tries = 1; tries < 4 && answer[0] === H_SUCCESS && answer[1] !== slot; tries++) {
    assert.equal(await status(t, vm, H_REMOVE, 0n, answer[1]!), H_SUCCESS);
    answer = await enter();
  }
  assert.deepEqual(answer, [H_SUCCESS, slot]);
}

/** An entry with R, or R and C, that the hardware has set and no reader has collected. */
export async function pending(t: ConformanceContext, store: boolean): Promise<{ vm: HtabVm; entry: Entry }> {
  const vm = await t.vm(18);
  await t.put(vm, record(40, [UNTOUCHED]));
  await t.guest(vm).access(40, { store });
  return { vm, entry: [UNTOUCHED[0], UNTOUCHED[1] | REFERENCED | (store ? CHANGED : 0n)] };
}
