import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { openSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { addonFile, addonIfBuilt, numbersOf, openFifo, scratchFolder } from './support.js';
import { collectGarbage } from './garbage.js';

const built = addonIfBuilt();

/** The first lines of every script that runs in a thread or a process of its own. */
const prelude = `
  const fs = require('node:fs');
  const { parentPort, workerData } = require('node:worker_threads');
  const addon = require(${JSON.stringify(built === undefined ? '' : addonFile())});
  const adopt = (file, flags) => addon.adopt(fs.openSync(file, flags), false);
`;

/** What a thread may be doing when it ends; each script then waits, or ends by itself. */
const steps = {
  'before it did anything': '',
  'while it opens the device': `addon.openKvm('/dev/kvm').catch(() => {});`,
  'while it adopts a descriptor': `void adopt('/dev/null', 'r');`,
  'holding open descriptors': `
    const held = []; for (let i = 0; i < 20; i++) held.push(await adopt('/dev/null', 'r')); globalThis.held = held;`,
  'with reads under way': `
    const zero = await adopt('/dev/zero', 'r');
    for (let i = 0; i < 8; i++) addon.read(zero, new Uint8Array(1 << 22)).catch(() => {});`,
  'with reads under way into memory of the addon': `
    const zero = await adopt('/dev/zero', 'r');
    for (let i = 0; i < 8; i++) addon.read(zero, addon.allocate(1 << 22)).catch(() => {});`,
  'with a close waiting for a read': `
    const zero = await adopt('/dev/zero', 'r');
    void addon.read(zero, new Uint8Array(1 << 24));
    void zero.close();`,
  'with records under way': `
    const sink = await adopt('/dev/null', 'w');
    void addon.writeRecords(sink, new Uint8Array(8 << 16));`,
  'with everything closed': `
    const zero = await adopt('/dev/zero', 'r');
    await addon.read(zero, new Uint8Array(16));
    await zero.close();`,
};

/** How many of the descriptors that these tests open are open. */
const held = (): number => numbersOf('/dev/null', '/dev/zero', '/dev/kvm').length;

describe.skipIf(built === undefined)('descriptors', () => {
  const addon = built!;
  const folder = scratchFolder();

  describe.each(Object.entries(steps))('of a thread that ends %s', (_when, step) => {
    test('are closed when it is terminated', async () => {
      const before = held();
      const worker = new Worker(
        `${prelude}; (async () => { ${step}; parentPort.postMessage('ready'); setInterval(() => {}, 1000); })();`,
        { eval: true, trackUnmanagedFds: false },
      );
      await once(worker, 'message');
      await worker.terminate();
      expect(held()).toBe(before);
    });

    test('are closed when it calls process.exit', async () => {
      const before = held();
      const worker = new Worker(`${prelude}; (async () => { ${step}; process.exit(7); })();`, {
        eval: true,
        trackUnmanagedFds: false,
      });
      const [code] = (await once(worker, 'exit')) as [number];
      expect(code).toBe(7);
      expect(held()).toBe(before);
    });

    test.each([
      ['by itself', ''],
      ['through process.exit', 'process.exit(0);'],
    ])('let a process end %s', (_how, ending) => {
      const { status, signal, stderr } = spawnSync(
        process.execPath,
        ['-e', `${prelude}; (async () => { ${step}; ${ending} })();`],
        { encoding: 'utf8' },
      );
      expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
    });
  });

  test('a thread that is terminated during a read is waited for, and the read cannot hit another file', async () => {
    using fifo = await openFifo(addon, folder);
    const before = held();
    const worker = new Worker(
      `${prelude}; (async () => {
        const descriptor = await adopt(workerData.file, fs.constants.O_RDWR);
        addon.read(descriptor, new Uint8Array(16));
        parentPort.postMessage('reading');
      })();`,
      { eval: true, trackUnmanagedFds: false, workerData: { file: fifo.file } },
    );
    await once(worker, 'message');
    const terminated = worker.terminate();
    writeSync(fifo.fd, Uint8Array.of(1));
    await terminated;
    expect(held()).toBe(before);
    await fifo.descriptor.close();
  });

  // Between two steps of one call, that is: whatever Node-API is asked from then on fails.
  test.each([
    ['looks at its descriptor', `addon.read(descriptor, 'no bytes')`],
    ['looks at its arguments', `addon.adopt(0, true, 7)`],
    ['makes its promise', `addon.openKvm('/nowhere').catch(() => {})`],
  ])(
    'a thread may be terminated while a call %s',
    (_what, call) => {
      const thread = `${prelude}; (async () => {
      const descriptor = await adopt('/dev/null', 'r');
      parentPort.postMessage('calling');
      for (;;) { try { ${call}; } catch {} }
    })();`;
      const script = `
      const { once } = require('node:events');
      const { Worker } = require('node:worker_threads');
      (async () => {
        for (let round = 0; round < 60; round++) {
          const worker = new Worker(${JSON.stringify(thread)}, { eval: true });
          await once(worker, 'message');
          await worker.terminate();
        }
      })();`;
      const { status, signal, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
      expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
    },
    120_000,
  );

  test('one thread cannot use the descriptor of another', async () => {
    const descriptor = await addon.adopt(openSync('/dev/null', 'r'), false);
    // What arrives in another thread is a copy, and an empty object.
    const copy = structuredClone(descriptor);
    expect(copy).toEqual({});
    expect(() => addon.read(copy, new Uint8Array(1))).toThrow(TypeError);
    await descriptor.close();
  });

  test('a descriptor that is collected unclosed is closed', async () => {
    const before = held();
    await (async () => {
      await Promise.all(Array.from({ length: 10 }, () => addon.adopt(openSync('/dev/null', 'r'), false)));
    })();
    expect(held()).toBe(before + 10);
    await collectGarbage(() => held() === before);
    expect(held()).toBe(before);
  });

  test('a handle that is collected unclosed is closed, with a warning', async () => {
    const before = held();
    const warned = once(process, 'warning') as Promise<[Error & { code: string }]>;
    await (async () => {
      const handle = new KvmHandle(addon, await addon.adopt(openSync('/dev/zero', 'r'), false), 'read');
      await handle.read(new Uint8Array(64));
    })();
    await collectGarbage(() => held() === before);
    const [warning] = await warned;
    expect(warning.code).toBe('HTAB_UNCLOSED');
    expect(warning.message).toMatch(/^an HTAB read handle was garbage-collected unclosed/);
  });

  test('a handle is not collected while a read is under way', async () => {
    using fifo = await openFifo(addon, folder);
    const buffer = new Uint8Array(4);
    const read = new KvmHandle(addon, fifo.descriptor, 'read').read(buffer);
    await collectGarbage(() => false);
    writeSync(fifo.fd, Uint8Array.of(1, 2, 3));
    expect(await read).toBe(3);
    await collectGarbage(() => true);
  });

  test('a thousand opens and closes leave nothing open', async () => {
    const before = held();
    for (let i = 0; i < 1000; i++) {
      const descriptor = await addon.adopt(openSync('/dev/zero', 'r'), false);
      await addon.read(descriptor, new Uint8Array(32));
      await descriptor.close();
    }
    expect(held()).toBe(before);
  });

  test('errno is the call’s own even when calls fail side by side', async () => {
    const full = await addon.adopt(openSync('/dev/full', 'w'), false);
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, (_, i) =>
        i % 2 === 0 ? addon.write(full, new Uint8Array(1)) : addon.openKvm('/nowhere'),
      ),
    );
    const { ENOENT, ENOSPC } = constants.errno;
    expect(results).toMatchObject(
      results.map((_, i) => ({ reason: { errno: i % 2 === 0 ? ENOSPC : ENOENT } })),
    );
    await full.close();
  });
});
