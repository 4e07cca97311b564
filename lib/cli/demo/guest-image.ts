import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { HtabUnavailableError } from '../../base/errors.js';
import { HPTES_PER_GROUP } from '../../hpt/geometry.js';
import { storeImage } from '../../hpt/flat-image.js';
import { hashPage, primaryGroup, secondaryGroup, virtualPageOf } from '../../hpt/hash.js';
import { HPTE_V_BOLTED, HPTE_V_SECONDARY } from '../../hpt/hpte-bits.js';
import { HptTable } from '../../hpt/table.js';
import { packageRoot } from '../../base/package-root.js';

const SECONDARY = BigInt(HPTE_V_SECONDARY);
const BOLTED = BigInt(HPTE_V_BOLTED);

interface ImageDescription {
  readonly order: number;
  readonly imageBytes: number;
  readonly imageSha256: string;
}

/**
 * The table of a Linux guest as it once ran, from an image of its memory: 16 bytes an entry, big-endian.
 *
 * @throws HtabUnavailableError if the image is missing or damaged
 */
export async function readGuestTable(): Promise<HptTable> {
  const folder = path.join(packageRoot(), 'test/fixtures');
  const { order, image } = await readImage(folder).catch((cause: unknown) => {
    throw new HtabUnavailableError(
      'unsupported',
      `cannot read the image of the demo's guest from ${folder}`,
      'install the package again, or run the demo in a clone of its repository',
      { cause },
    );
  });
  const table = new HptTable(order);
  storeImage(table, 0, image);
  return table;
}

/**
 * The same guest with a table of another order: each entry in the PTEG that its address hashes to there, bolted ones first.
 *
 * @throws RangeError if the guest's entries do not fit
 */
export function replaceTable(guest: HptTable, order: number): HptTable {
  if (order === guest.order) return guest;
  const table = new HptTable(order);
  const ptexes = validPtexes(guest);
  const isBolted = (ptex: number): boolean => (guest.get(ptex)!.v & BOLTED) !== 0n;
  for (const ptex of [...ptexes.filter(isBolted), ...ptexes.filter((each) => !isBolted(each))]) {
    const { v, r } = guest.get(ptex)!;
    const hash = hashPage(virtualPageOf(ptex, v, r, guest.order)!);
    const primary = freeSlot(table, primaryGroup(hash, order));
    if (primary !== undefined) {
      table.set(primary, v & ~SECONDARY, r);
      continue;
    }
    const secondary = freeSlot(table, secondaryGroup(hash, order));
    if (secondary === undefined)
      throw new RangeError(`the guest's entries do not fit a table of order ${order}`);
    table.set(secondary, v | SECONDARY, r);
  }
  return table;
}

async function readImage(folder: string): Promise<{ order: number; image: Buffer }> {
  const about = JSON.parse(await readFile(path.join(folder, 'linux-guest.json'), 'utf8')) as ImageDescription;
  const packed = await readFile(path.join(folder, 'linux-guest.img.br'));
  const image = await promisify(brotliDecompress)(packed, { maxOutputLength: about.imageBytes });
  const sha256 = createHash('sha256').update(image).digest('hex');
  if (sha256 !== about.imageSha256)
    throw new Error(`the image's SHA-256 is ${sha256}, not ${about.imageSha256}`);
  return { order: about.order, image };
}

function validPtexes({ valid, entryCount }: HptTable): number[] {
  const ptexes: number[] = [];
  for (let ptex = valid.next(0); ptex < entryCount; ptex = valid.next(ptex + 1)) ptexes.push(ptex);
  return ptexes;
}

function freeSlot(table: HptTable, group: number): number | undefined {
  const first = group * HPTES_PER_GROUP;
  for (let ptex = first; ptex < first + HPTES_PER_GROUP; ptex++) if (!table.has(ptex)) return ptex;
  return undefined;
}
