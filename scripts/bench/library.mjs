// The library as it is compiled, in dist/, with the types of its sources: those are there before anything is built.

/**
 * @param {string} name
 * @returns {Promise<unknown>}
 */
const load = (name) => import(new URL(`../../dist/${name}.js`, import.meta.url).href);

export const { EmulatedVm, HptReader, HptTable, RecordCursor } =
  /** @type {typeof import('../../lib/index.js')} */ (await load('index'));
export const { encodeAvpn, encodeHpte, hashPage, linuxPage, primaryGroup, secondaryGroup, tableStats } =
  /** @type {typeof import('../../lib/index.js')} */ (await load('index'));
export const { createReadStream, foldRecords, receiveHpt, relayMigration, sendHpt } =
  /** @type {typeof import('../../lib/index.js')} */ (await load('index'));

export const { readSnapshot } = /** @type {typeof import('../../lib/index.js')} */ (await load('index'));

// Not published: what a pass costs without anything around it, and descriptors that are none of KVM.
export const { fillRecords } = /** @type {typeof import('../../lib/records/fill-records.js')} */ (
  await load('records/fill-records')
);
export const { writeTable } = /** @type {typeof import('../../lib/snapshot/write-table.js')} */ (
  await load('snapshot/write-table')
);
export const { tableMap } = /** @type {typeof import('../../lib/inspect/table-map.js')} */ (
  await load('inspect/table-map')
);
export const { BaseHandle } = /** @type {typeof import('../../lib/vm/base-handle.js')} */ (
  await load('vm/base-handle')
);
export const { KvmHandle } = /** @type {typeof import('../../lib/vm/kvm/kvm-handle.js')} */ (
  await load('vm/kvm/kvm-handle')
);
export const { loadAddon } = /** @type {typeof import('../../lib/vm/kvm/addon.js')} */ (
  await load('vm/kvm/addon')
);
