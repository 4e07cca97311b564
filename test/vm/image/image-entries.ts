import { render } from '../../../lib/testing/conformance/stream.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import type { ImageVm } from '../../../lib/vm/image/image-vm.js';

export const ORDER_18_BYTES = 2 ** 18;

export async function read(handle: HtabHandle, count = 4096): Promise<string[]> {
  const buffer = new Uint8Array(count);
  return render(buffer.subarray(0, await handle.read(buffer)));
}

/** A reader past its first pass. */
export async function laterReader(vm: ImageVm): Promise<HtabHandle> {
  const handle = await vm.openHtab();
  while ((await read(handle, 65_536)).length > 0);
  return handle;
}

/** Sets an entry as the image's owner does. */
export function set(image: Uint8Array, ptex: number, v: bigint, r: bigint): void {
  const view = new DataView(image.buffer, image.byteOffset);
  view.setBigUint64(ptex * 16, v);
  view.setBigUint64(ptex * 16 + 8, r);
}

export function get(image: Uint8Array, ptex: number): [v: bigint, r: bigint] {
  const view = new DataView(image.buffer, image.byteOffset);
  return [view.getBigUint64(ptex * 16), view.getBigUint64(ptex * 16 + 8)];
}
