// A thread that gets as far as one step of using a VM, says so, and is ended there.
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { encode, run } from '../../lib/testing/conformance/stream.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';

/** How far a thread goes: each step begins one call, or holds what the calls before it gave. */
export const WORKER_STEPS = [
  'creating a VM',
  'holding a VM',
  'allocating a table',
  'opening a descriptor',
  'holding descriptors',
  'reading',
  'writing',
  'writing records',
  'closing',
  'waiting for a peer',
] as const;

if (!isMainThread) {
  const inFlight = await goTo(workerData as (typeof WORKER_STEPS)[number]);
  // It rejects when the thread ends; nothing is left to handle that.
  inFlight?.call.catch(() => undefined);
  parentPort?.postMessage('there');
  setInterval(() => undefined, 1 << 30);
}

/** @returns the call that the step leaves in flight */
async function goTo(step: (typeof WORKER_STEPS)[number]): Promise<{ call: Promise<unknown> } | undefined> {
  if (step === 'waiting for a peer') return { call: receiveHtab(await silentPeer(), { timeoutMs: 1000 }) };
  if (step === 'creating a VM') return { call: KvmVm.create() };
  const vm = await KvmVm.create();
  if (step === 'holding a VM') return undefined;
  if (step === 'allocating a table') return { call: vm.allocateHpt(24) };
  await vm.allocateHpt(22);
  if (step === 'opening a descriptor') return { call: vm.openHtab() };
  const reader = await vm.openHtab();
  const writer = await vm.openHtab({ access: 'write' });
  switch (step) {
    case 'holding descriptors':
      return undefined;
    case 'reading':
      return { call: reader.read(new Uint8Array(1 << 16)) };
    case 'writing':
      return { call: writer.write(encode(run(0, 60_000))) };
    case 'writing records':
      return { call: writer.writeRecords(encode(run(0, 60_000), run(70_000, 60_000))) };
    case 'closing':
      return { call: Promise.all([reader.close(), writer.close(), vm.close()]) };
  }
}

/** A Unix socket that takes connections and says nothing. */
async function silentPeer(): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), 'silent-')), 'socket');
  await once(createServer().listen(path), 'listening');
  return path;
}
