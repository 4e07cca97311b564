import { encode, render, type StreamRecord } from '../../lib/testing/conformance/stream.js';
import type { HtabHandle, HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';

export async function tableOf(order: number): Promise<EmulatedVm> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(order);
  return vm;
}

export async function read(handle: HtabHandle, count = 4096): Promise<string[]> {
  const buffer = new Uint8Array(count);
  return render(buffer.subarray(0, await handle.read(buffer)));
}

export async function put(vm: HtabVm, ...records: readonly StreamRecord[]): Promise<void> {
  await using writer = await vm.openHtab({ access: 'write' });
  await writer.writeRecords(encode(...records));
}

export const failure = (errnoName: string, syscall: string): object => ({
  code: 'ERR_HTAB_SYSTEM',
  errnoName,
  syscall,
});
