import type { VmmMemory } from './agent/vmm-memory.js';

/** Of vmm/guest/layout.h and struct Page in vmm/guest/mapping.h. */
const PAGES_ADDRESS = 0x10_0000;
const PAGES_END = 0x18_0000;
const PAGE_STRUCT_BYTES = 56;
const UNMAPPED = 0;
const CHANGED = 1;

/** What the checking guest knows of the entry of one of its pages. */
export interface CheckerPage {
  readonly number: number;
  readonly ptex: number;
  /** It has stored through the entry since it entered it or cleared C. */
  readonly isChanged: boolean;
}

/** The guest's own list of its mapped pages, read out of its memory. It must be paused. */
export async function mappedPages(memory: VmmMemory): Promise<CheckerPage[]> {
  const list = Buffer.alloc(PAGES_END - PAGES_ADDRESS);
  await memory.read(PAGES_ADDRESS, list);
  const pages: CheckerPage[] = [];
  for (let number = 0; (number + 1) * PAGE_STRUCT_BYTES <= list.length; number++) {
    const at = number * PAGE_STRUCT_BYTES;
    if (list.readBigUInt64LE(at) === 0n) break;
    if (list[at + 20] === UNMAPPED) continue;
    pages.push({ number, ptex: list.readUInt32LE(at + 16), isChanged: list[at + 22] === CHANGED });
  }
  return pages;
}
