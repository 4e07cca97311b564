import { expect, test, vi } from 'vitest';
import type { Addon, Descriptor } from '../../../lib/vm/kvm/addon.js';
import { KvmHandle } from '../../../lib/vm/kvm/kvm-handle.js';

const thread = vi.hoisted(() => ({ isMainThread: true }));
vi.mock('node:worker_threads', () => thread);

test('a handle has memory of the addon on the main thread only: that of a worker ends with the worker', () => {
  const lent = new Uint8Array(8);
  const addon = { allocate: () => lent } as unknown as Addon;
  const handle = new KvmHandle(addon, {} as Descriptor, 'read');
  expect(handle.readBuffer(8)).toBe(lent);
  thread.isMainThread = false;
  const own = handle.readBuffer(8);
  expect(own).not.toBe(lent);
  expect(own.length).toBe(8);
});
