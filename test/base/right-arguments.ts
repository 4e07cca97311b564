import { duplexPair, type Duplex } from 'node:stream';
import * as api from '../../lib/index.js';

export const vm = new api.EmulatedVm();
await vm.allocateHpt(18);
export const handle = await vm.openHtab();
export const table = new api.HptTable(18);
export const guest = { pause: () => Promise.resolve(), resume: () => Promise.resolve() };
export const journal = new api.MemoryJournal();
export const stream = (): Duplex => duplexPair()[0];
export const descriptor = (access: 'read' | 'write'): Promise<api.HtabHandle> => vm.openHtab({ access });

export const unused = (): Promise<Duplex> => Promise.reject(new Error('not called'));
export const noConnections = stream();
