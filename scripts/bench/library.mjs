// The library as it is published, in dist/, with the types of its sources: those are there before anything is built.

/**
 * @param {string} name
 * @returns {Promise<unknown>}
 */
const load = (name) => import(new URL(`../../dist/${name}.js`, import.meta.url).href);

export const { HptTable } = /** @type {typeof import('../../lib/hpt/table.js')} */ (await load('hpt/table'));
export const { fillRecords } = /** @type {typeof import('../../lib/format/pass.js')} */ (
  await load('format/pass')
);
export const { RecordCursor } = /** @type {typeof import('../../lib/format/cursor.js')} */ (
  await load('format/cursor')
);
export const { EmulatedVm } = /** @type {typeof import('../../lib/vm/emulated/emulated-vm.js')} */ (
  await load('vm/emulated/emulated-vm')
);
