import assert from 'node:assert/strict';
import { entryCount } from '../../hpt/geometry.js';
import { rejectionOf, type ConformanceCase } from './context.js';
import { encode, removal, render, run } from './stream.js';

/** Order of calls, closing, aborting: what the contract adds to the kernel. */
export const lifecycleCases: readonly ConformanceCase[] = [
  {
    name: 'calls on one handle run in the order they were made',
    section: 'contract',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(100, 10));
      const handle = await t.open(vm, { startIndex: 100 });
      const buffers = Array.from({ length: 11 }, () => new Uint8Array(25));
      const lengths = await Promise.all(buffers.map((buffer) => handle.read(buffer)));
      const lines = buffers.flatMap((buffer, index) => render(buffer.subarray(0, lengths[index])));
      const single = Array.from({ length: 10 }, (_, index) => run(100 + index, 1, index === 9 ? 16_274 : 0));
      assert.deepEqual(lines, t.lines(single));
    },
  },
  {
    name: 'writes and records on one handle keep their order among each other',
    section: 'contract',
    async run(t) {
      const vm = await t.vm(18);
      const handle = await t.open(vm, { access: 'write' });
      const results = await Promise.all([
        handle.write(encode(run(0, 4))),
        handle.writeRecords(encode(removal(0), removal(2))),
        handle.write(encode(run(2, 1))),
      ]);
      assert.deepEqual(results, [72, 16, 24]);
      await t.expectTable(vm, removal(0), run(1, 3, 16_380));
    },
  },
  {
    name: 'a failed call does not stop the calls behind it',
    section: 'contract',
    async run(t) {
      const vm = await t.vm(18);
      const handle = await t.open(vm, { access: 'write' });
      const [failed, written] = await Promise.allSettled([
        handle.write(encode(removal(entryCount(18), 1))),
        handle.write(encode(run(0, 1))),
      ]);
      assert.equal(failed.status, 'rejected');
      assert.deepEqual(written, { status: 'fulfilled', value: 24 });
    },
  },
  {
    name: 'close waits for calls in flight, which end as if nothing were',
    section: 'contract',
    async run(t) {
      const handle = await t.open(await t.vm(18));
      const buffer = new Uint8Array(4096);
      const order: string[] = [];
      const read = handle.read(buffer).then((length) => {
        order.push('read');
        return length;
      });
      const closed = handle.close().then(() => order.push('close'));
      const [length] = await Promise.all([read, closed]);
      assert.deepEqual(render(buffer.subarray(0, length)), ['{0,0,16384}']);
      assert.deepEqual(order, ['read', 'close']);
    },
  },
  {
    name: 'a closed handle refuses every call, and closes again without a word',
    section: 'contract',
    async run(t) {
      const vm = await t.vm(18);
      const reader = await t.open(vm);
      const writer = await t.open(vm, { access: 'write' });
      await Promise.all([reader.close(), reader.close(), writer[Symbol.asyncDispose]()]);
      await reader.close();
      await reader[Symbol.asyncDispose]();
      await t.expectState(reader.read(new Uint8Array(4096)), 'closed');
      await t.expectState(writer.write(encode(run(0, 1))), 'closed');
      await t.expectState(writer.writeRecords(encode(run(0, 1))), 'closed');
      await t.expectTable(vm, removal(0, 16_384));
    },
  },
  {
    name: 'a call made after close, while it still waits, is refused',
    section: 'contract',
    async run(t) {
      const handle = await t.open(await t.vm(18));
      const read = handle.read(new Uint8Array(4096));
      const closing = handle.close();
      await t.expectState(handle.read(new Uint8Array(4096)), 'closed');
      assert.equal(await read, 8);
      await closing;
    },
  },
  {
    name: 'a closed VM refuses every call, and its open handles go on working',
    section: '2.4',
    async run(t) {
      const vm = await t.vm(18);
      const writer = await t.open(vm, { access: 'write' });
      const reader = await t.open(vm);
      await Promise.all([vm.close(), vm.close()]);
      await vm[Symbol.asyncDispose]();
      assert.equal(await writer.write(encode(run(3, 1))), 24);
      await t.expectRead(reader, [removal(0, 3), run(3, 1, 16_380)]);
      await t.expectState(vm.openHtab(), 'closed');
      await t.expectState(vm.allocateHpt(18), 'closed');
      await t.expectState(vm.prepareHptResize(19), 'closed');
      await t.expectState(vm.commitHptResize(19), 'closed');
    },
  },
  {
    name: 'an aborted opening rejects with the reason and leaves no descriptor behind',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      const before = new AbortController();
      before.abort(new Error('before'));
      assert.equal(await rejectionOf(vm.openHtab({ signal: before.signal })), before.signal.reason);
      const meanwhile = new AbortController();
      const opening = vm.openHtab({ signal: meanwhile.signal });
      meanwhile.abort();
      assert.equal(await rejectionOf(opening), meanwhile.signal.reason);
      // A descriptor left open would turn the marks on.
      await t.put(vm, run(3, 1));
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a signal aborted after the opening leaves the handle alone',
    section: 'contract',
    async run(t) {
      const controller = new AbortController();
      const handle = await t.open(await t.vm(18), { signal: controller.signal });
      controller.abort();
      await t.expectRead(handle, [removal(0, 16_384)]);
    },
  },
  {
    name: 'a start index that is no entry number is refused',
    section: 'contract',
    async run(t) {
      const vm = await t.vm(18);
      for (const startIndex of [-1, 0.5, Number.NaN, 2 ** 60]) {
        assert.ok((await rejectionOf(vm.openHtab({ startIndex }))) instanceof RangeError, String(startIndex));
      }
    },
  },
  {
    name: 'descriptors opened and closed a hundred times leave tracking as it was',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      for (let round = 0; round < 100; round++) {
        const handle = await vm.openHtab();
        await handle.close();
        await handle.close();
      }
      await t.put(vm, run(3, 1));
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      await t.expectRead(later, []);
      await t.put(vm, run(3, 1));
      await t.expectRead(later, [run(3, 1)]);
    },
  },
  {
    name: 'writing to a read descriptor and reading from a write descriptor is EBADF',
    section: '2.7',
    async run(t) {
      const vm = await t.vm(18);
      const reader = await t.open(vm);
      const writer = await t.open(vm, { access: 'write' });
      assert.deepEqual([reader.access, writer.access], ['read', 'write']);
      await t.expectErrno(reader.write(encode(run(0, 1))), 'EBADF', 'write');
      await t.expectErrno(writer.read(new Uint8Array(4096)), 'EBADF', 'read');
      await t.expectErrno(reader.writeRecords(encode(run(0, 1))), 'EBADF', 'write');
      await t.expectTable(vm, removal(0, 16_384));
    },
  },
];
