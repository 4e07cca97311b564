import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { HptReader } from '../../lib/io/reader.js';
import { encode, removal, render, run } from '../../lib/testing/conformance/stream.js';
import { requestHtab } from '../../lib/vm/kvm/handover.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { WORKER_STEPS } from './lifecycle-worker.js';
import type { Test, TestContext } from './runner.js';
import { unlessNotListening, until } from './until.js';

/** Descriptors are closed, whatever ends their use; the kernel keeps a VM alive for each that is not. */
export function lifecycleSuite(test: Test): void {
  test('a thousand descriptors opened and closed leave none behind, and no tracking', async (t) => {
    const before = kvmDescriptors();
    {
      await using vm = await KvmVm.create();
      await vm.allocateHpt(18);
      for (let round = 0; round < 1000; round++) {
        const handle = await vm.openHtab({ access: round % 3 === 0 ? 'write' : 'read' });
        await handle.close();
      }
      assert.equal(kvmDescriptors(), before + 1);
      await using writer = await vm.openHtab({ access: 'write' });
      await writer.write(encode(run(3, 1)));
      await using reader = await vm.openHtab({ startIndex: 100 });
      assert.deepEqual(await readLines(reader), render(encode(removal(100, 16_284))));
      assert.deepEqual(await readLines(reader), []);
    }
    await untilDescriptors(before, t);
  });

  for (const step of WORKER_STEPS) {
    test(`a worker thread ended while ${step} leaves no descriptor behind`, async (t) => {
      const before = kvmDescriptors();
      const worker = new Worker(new URL('lifecycle-worker.js', import.meta.url), { workerData: step });
      await once(worker, 'message');
      await worker.terminate();
      await untilDescriptors(before, t);
    });
  }

  test('an abort in mid-read waits for the read, and the next pass has what it brought', async () => {
    await using vm = await KvmVm.create();
    // Large enough that its scan takes the kernel a while.
    await vm.allocateHpt(25);
    await using writer = await vm.openHtab({ access: 'write' });
    await writer.write(encode(run(2_000_000, 3)));
    await using reader = await HptReader.open(vm);
    const abort = new AbortController();
    const pass = reader.pass({ signal: abort.signal }).next();
    abort.abort(new Error('enough'));
    await assert.rejects(pass, /enough/);
    let entries = 0;
    for await (const chunk of reader.pass()) {
      for (const line of render(chunk)) entries += Number(/,(\d+),/.exec(line)?.[1]);
    }
    assert.equal(entries, 3);
  });

  test('closing in mid-read waits for the read, and the VM can go at the same time', async (t) => {
    const before = kvmDescriptors();
    const vm = await KvmVm.create();
    await vm.allocateHpt(25);
    const handle = await vm.openHtab();
    const reading = handle.read(new Uint8Array(1 << 16));
    await Promise.all([vm.close(), handle.close()]);
    assert.equal(await reading, 8 * 33);
    await untilDescriptors(before, t);
  });

  test('handles that are collected unclosed are closed then, with a warning', async (t) => {
    const before = kvmDescriptors();
    const warnings: string[] = [];
    const listen = (warning: Error & { code?: string }): void => {
      if (warning.code === 'HTAB_UNCLOSED') warnings.push(warning.message);
    };
    process.on('warning', listen);
    await openAndForget();
    assert.equal(kvmDescriptors(), before + 3);
    assert.ok(globalThis.gc, 'needs --expose-gc');
    while (warnings.length < 3) {
      t.signal.throwIfAborted();
      globalThis.gc();
      await delay(10);
    }
    process.off('warning', listen);
    await untilDescriptors(before, t);
  });

  test('the VMM in the README hands descriptors over, as many as it is asked for', async (t) => {
    const socketPath = join(mkdtempSync(join(tmpdir(), 'handover-')), 'socket');
    const child = spawn('bin/handover', [socketPath], { stdio: 'inherit' });
    const exited = once(child, 'exit');
    const request = { request: 'open-read\n' };
    for (let k = 0; k < 2; k++) {
      const { handle, text } = await until(
        () => requestHtab(socketPath, request).catch(unlessNotListening),
        t.signal,
      );
      assert.equal(text, 'ok 24\n');
      assert.equal(handle.access, 'read');
      assert.equal(await handle.read(new Uint8Array(1 << 16)), 8 * 17);
      await handle.close();
    }
    child.kill();
    assert.deepEqual(await exited, [null, 'SIGTERM']);
  });
}

async function readLines(handle: { read(buffer: Uint8Array): Promise<number> }): Promise<string[]> {
  const buffer = new Uint8Array(4096);
  return render(buffer.subarray(0, await handle.read(buffer)));
}

/** A VM and two handles without a reference to them. */
async function openAndForget(): Promise<void> {
  const vm = await KvmVm.create();
  await vm.allocateHpt(18);
  await vm.openHtab();
  await vm.openHtab({ access: 'write' });
}

/** Number of descriptors of KVM that this process has open. */
function kvmDescriptors(): number {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      return target.startsWith('anon_inode:kvm') || target === '/dev/kvm';
    } catch {
      return false; // the descriptor of the listing itself
    }
  }).length;
}

/** A thread's descriptors may be closed a moment after it has ended, by the call that was in flight. */
async function untilDescriptors(count: number, t: TestContext): Promise<void> {
  while (kvmDescriptors() !== count) {
    if (t.signal.aborted) assert.equal(kvmDescriptors(), count);
    await delay(10);
  }
}
