import { expect, onTestFinished, test } from 'vitest';
import type { RelayOptions } from '../../../lib/qemu/relay/relay-options.js';
import type { RelayReport } from '../../../lib/qemu/relay/relay-report.js';
import { scratchFiles } from '../../scratch.js';
import { startRelay } from './fake-qemus.js';
import { RealQemu, missing } from './real-qemu.js';

const scratch = scratchFiles();

interface Migration {
  readonly source: RealQemu;
  readonly target: RealQemu;
  readonly status: string;
  readonly result: Promise<RelayReport>;
}

/** Has a QEMU migrate with multifd. */
const MULTIFD = { capabilities: [{ capability: 'multifd', state: true }] };

/** Migrates a guest of one QEMU to another, through a relay. */
async function migrate(options: RelayOptions): Promise<Migration> {
  const incoming = `unix:${scratch('b')}`;
  const source = await RealQemu.start(scratch('qmp'));
  onTestFinished(() => {
    source.kill();
  });
  const target = await RealQemu.start(scratch('qmp'), '-incoming', incoming);
  onTestFinished(() => {
    target.kill();
  });
  const { address, result } = await startRelay(`unix:${scratch('a')}`, incoming, options);
  return { source, target, result, status: await source.migrate(address) };
}

test('QEMU migrates through a relay, and the guest runs there', async ({ skip }) => {
  skip(missing !== undefined, missing);
  const { source, target, status, result } = await migrate({ minEntries: 0 });
  expect(await result).toMatchObject({ acknowledged: true, order: expect.any(Number) as number });
  expect([status, await source.status(), await target.status()]).toEqual([
    'completed',
    'postmigrate',
    'running',
  ]);
});

test('what a relay refuses goes on at the source, and its destination ends', async ({ skip }) => {
  skip(missing !== undefined, missing);
  const { source, target, status, result } = await migrate({ minEntries: 1_000_000 });
  await expect(result).rejects.toMatchObject({ option: 'minEntries' });
  expect([status, await source.status()]).toEqual(['failed', 'running']);
  await target.exited;
});

test('a source that uses multifd is refused at once, and runs on', async ({ skip }) => {
  skip(missing !== undefined, missing);
  const source = await RealQemu.start(scratch('qmp'));
  onTestFinished(() => {
    source.kill();
  });
  const target = await RealQemu.start(scratch('qmp'), '-incoming', 'defer');
  onTestFinished(() => {
    target.kill();
  });
  const incoming = `unix:${scratch('b')}`;
  await target.ask('migrate-set-capabilities', MULTIFD);
  await target.ask('migrate-incoming', { uri: incoming });
  await source.ask('migrate-set-capabilities', MULTIFD);
  const { address, result } = await startRelay(`unix:${scratch('a')}`, incoming, { minEntries: 0 });
  expect([await source.migrate(address), await source.status()]).toEqual(['failed', 'running']);
  await expect(result).rejects.toThrow(/migrate_set_capability multifd off/);
});
