import { render } from '../../lib/testing/conformance/stream.js';
import type { HtabHandle } from '../../lib/vm/contract.js';

/** Everything one read brings, as lines. */
export async function readAll(handle: HtabHandle): Promise<string[]> {
  const buffer = new Uint8Array(1 << 16);
  return render(buffer.subarray(0, await handle.read(buffer)));
}
