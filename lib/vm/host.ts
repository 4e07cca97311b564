import { readFile } from 'node:fs/promises';
import { findValid } from '../hpt/entries.js';
import { HPTE_V_LOST_ON_POWER9_HIGH } from '../hpt/hpte-bits.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import type { BackendName, HtabVm } from './contract.js';

/** Processor of a host, as far as it matters to tables: POWER9 and later drop bits 52..61 of `v` (kernel-abi.md 3.1). */
export type HostModel = 'power8' | 'power9';

/** As it stands in a word of stream bytes. */
const LOST_ON_POWER9 = swapBigEndian(HPTE_V_LOST_ON_POWER9_HIGH);

/** Whether a POWER9 host would not keep an entry, by the first of its words as it travels. */
export function isLostOnPower9(word: number): boolean {
  return (word & LOST_ON_POWER9) !== 0;
}

/**
 * The first entry that a host of this kind would not give back as it was written; undefined if it keeps all of them.
 * POWER9 and later drop bits 52..61 of `v`, which VSIDs of more than 40 bits reach (28 in 1 TiB segments).
 */
export function firstEntryLostOn(host: HostModel, table: HptTable): number | undefined {
  if (host !== 'power9') return undefined;
  return findValid(table, (_ptex, words, word) => isLostOnPower9(words[word]!));
}

/** The processor that a table's entries are kept by: what is said, what its VM says, or what this machine is. */
export async function hostOf(
  vm: HtabVm | undefined,
  backend: BackendName,
  given: HostModel | undefined,
): Promise<HostModel | null> {
  if (given !== undefined) return given;
  const { host } = (vm ?? {}) as { readonly host?: unknown };
  if (host === 'power8' || host === 'power9') return host;
  return backend === 'kvm' ? ((await thisHost()) ?? null) : null;
}

/** The processor of this machine, as far as it matters to tables; undefined if it is not POWER, or cannot be told. */
export async function thisHost(cpuinfo = '/proc/cpuinfo'): Promise<HostModel | undefined> {
  if (process.arch !== 'ppc64') return undefined;
  return hostFromCpuInfo(await readFile(cpuinfo, 'utf8').catch(() => ''));
}

/** @param text of /proc/cpuinfo, as `cpu : POWER9 (raw), altivec supported` */
export function hostFromCpuInfo(text: string): HostModel | undefined {
  const generation = /^cpu\s*:\s*POWER(\d+)/m.exec(text)?.[1];
  if (generation === undefined || Number(generation) < 8) return undefined;
  return generation === '8' ? 'power8' : 'power9';
}
