import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import * as api from '../../lib/index.js';

const { EmulatedVm, ImageVm } = api;
const guest = { pause: () => Promise.resolve(), resume: () => Promise.resolve() };

/** The public functions that need a VM's table, or its order. */
const calls: Readonly<Record<string, (vm: api.HtabVm) => Promise<unknown>>> = {
  readTable: (vm) => api.readTable(vm),
  saveSnapshot: (vm) => api.saveSnapshot(vm, '/nowhere/guest.hpt'),
  resizeHpt: (vm) => api.resizeHpt(vm, 20),
  sendHpt: (vm) => api.sendHpt(vm, duplexPair()[0], guest),
  'HptReader.pass': async (vm) => {
    await using reader = await api.HptReader.open(vm);
    await reader.pass().next();
  },
  createReadStream: (vm) => api.createReadStream(vm).toArray(),
};

const vms: Readonly<Record<string, () => api.HtabVm | Promise<api.HtabVm>>> = {
  'an emulated VM without a table': () => new EmulatedVm(),
  'an emulated radix guest': async () => {
    const vm = new EmulatedVm();
    await vm.allocateHpt(18);
    await vm.configureMmu('radix');
    return vm;
  },
  'an image without a table': () => new ImageVm(),
};

const rows = Object.keys(calls).flatMap((call) => Object.keys(vms).map((vm) => [call, vm] as const));

test.each(rows)('%s rejects with no-table for %s', async (call, vm) => {
  await expect(calls[call]!(await vms[vm]!())).rejects.toMatchObject({
    code: 'ERR_HTAB_UNAVAILABLE',
    reason: 'no-table',
  });
});

test.each<[string, (handle: api.HtabHandle) => Promise<unknown>]>([
  ['readTable', (handle) => api.readTable(handle)],
  ['saveSnapshot', (handle) => api.saveSnapshot(handle, '/nowhere/guest.hpt')],
])('%s refuses a descriptor without its order, and names the option', async (_name, call) => {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  await expect(call(await vm.openHtab())).rejects.toMatchObject({ name: 'TypeError', option: 'order' });
});
