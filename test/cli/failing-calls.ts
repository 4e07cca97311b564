import { duplexPair } from 'node:stream';
import * as api from '../../lib/index.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { inheritedSocket } from '../../lib/transport/activation.js';

const vm = new api.EmulatedVm();
const handle = await vm.openHtab();
const closed = await vm.openHtab();
await closed.close();
const faulty = (errno: string): api.HtabVm =>
  new FaultScript([{ kind: 'errno', call: 'read', errno }]).wrapVm(new api.EmulatedVm());
const sent = { pause: () => Promise.resolve(), resume: () => Promise.resolve() };
const wrong = (value: unknown): never => value as never;

/** Calls of the library that fail. */
export const FAILING_CALLS: Readonly<Record<string, () => unknown>> = {
  'an order out of range': () => vm.allocateHpt(17),
  'an option of another type': () => vm.openHtab(wrong({ signal: 5 })),
  'an unknown word': () => vm.openHtab(wrong({ access: 'both' })),
  'no options': () => api.openVm(wrong(undefined)),
  'a path with a NUL': () => api.probe({ device: '/dev/\0' }),
  'no bytes': () => handle.read(wrong('text')),
  'a closed handle': () => closed.read(new Uint8Array(64)),
  'a write to a reader': () => handle.write(new Uint8Array(8)),
  'a resize that is not prepared': () => vm.commitHptResize(18),
  'a guest without memory': () => {
    new api.EmulatedVm({ memoryRegions: [] }).enterGuest();
  },
  'a read that faults': async () => {
    const broken = faulty('EFAULT');
    await broken.allocateHpt(18);
    await (await broken.openHtab()).read(new Uint8Array(64));
  },
  'a cut record': async () => {
    await (await vm.openHtab({ access: 'write' })).writeRecords(new Uint8Array(7));
  },
  'a record out of range': async () => {
    const header = Uint8Array.of(0xff, 0xff, 0xff, 0, 0, 0, 1, 0);
    await (await vm.openHtab({ access: 'write' })).writeRecords(header);
  },
  'two readers of one table': async () => {
    await using one = await api.HptReader.open(vm);
    await api.HptReader.open(vm).finally(() => one.close());
  },
  'a source without a table': () => api.sendHpt(new api.EmulatedVm(), duplexPair()[0], sent),
  'a source without options': () => api.sendHpt(vm, duplexPair()[0], wrong(undefined)),
  'a source that cannot stop its guest': () => api.sendHpt(vm, duplexPair()[0], {}),
  'a source that cannot resume its guest': () => api.sendHpt(vm, duplexPair()[0], { pause: sent.pause }),
  'a limit out of range': () => api.sendHpt(vm, duplexPair()[0], { ...sent, stopLimitMs: 0 }),
  'two sockets from systemd': () => inheritedSocket({ LISTEN_PID: String(process.pid), LISTEN_FDS: '2' }),
};
