import type { Writable } from 'node:stream';

/** Where a command writes: data to stdout, everything said to a person to stderr. */
export interface Output {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
}
