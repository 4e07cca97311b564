import type { HtabHandle } from '../../lib/vm/contract.js';

/** A read descriptor that reads as told, whatever the kernel would say. */
export function brokenHandle(read: (buffer: Uint8Array) => number): HtabHandle {
  return {
    access: 'read',
    read: (buffer) => Promise.resolve(read(buffer)),
    write: () => Promise.reject(new Error('read handle')),
    writeRecords: () => Promise.reject(new Error('read handle')),
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
