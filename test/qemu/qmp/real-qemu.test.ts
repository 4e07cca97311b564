import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { run } from '../../../lib/cli/program.js';
import { SeededRandom } from '../../../lib/base/random.js';
import { compareTables } from '../../../lib/hpt/compare.js';
import { HptTable } from '../../../lib/hpt/table.js';
import { connectQmp, type QmpConnection } from '../../../lib/qemu/qmp/connection.js';
import { readQemuTable } from '../../../lib/qemu/qmp/read-qemu-table.js';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { rewriteQemuStream } from '../../../lib/qemu/stream/rewrite.js';
import { readSnapshot } from '../../../lib/snapshot/read.js';
import { captureOutput } from '../../cli/capture.js';
import { MAIN, notCompiled } from '../../cli/processes.js';
import { scratchFiles } from '../../scratch.js';
import { RealQemu, missing } from '../relay/real-qemu.js';

const scratch = scratchFiles();
/** A firmware's guest has an empty table. */
const ENTRIES = 1000;
const SHARED = ['-object', 'memory-backend-memfd,id=shared,size=256M,share=on', '-machine', 'memory-backend=shared']; // prettier-ignore
const TIMEOUT_MS = 300_000;

interface Guest {
  readonly qemu: RealQemu;
  /** Of a second monitor. */
  readonly monitor: string;
}

async function startGuest(...args: string[]): Promise<Guest> {
  const monitor = scratch('second');
  const qemu = await RealQemu.start(scratch('qmp'), '-qmp', `unix:${monitor},server=on,wait=off`, ...args);
  onTestFinished(() => {
    qemu.kill();
  });
  return { qemu, monitor };
}

/** A guest that runs on a table with entries, which its firmware does not use. */
async function startGuestWith(make: (order: number) => HptTable): Promise<Guest> {
  const [plain, filled] = [scratch('plain.mig'), scratch('filled.mig')];
  const { qemu } = await startGuest();
  await qemu.migrate(`exec:cat > ${plain}`, false);
  const { table } = await readQemuStream(plain);
  await rewriteQemuStream(plain, make(table!.order), filled);
  qemu.kill();
  const guest = await startGuest('-incoming', `exec:cat ${filled}`);
  await guest.qemu.reached('running');
  return guest;
}

function tableOf(order: number): HptTable {
  const table = new HptTable(order);
  const random = new SeededRandom(1);
  for (let count = 0; count < ENTRIES; count++) {
    const v = (BigInt(random.uint32()) << 12n) | 1n;
    table.set(random.below(table.entryCount), v, BigInt(random.uint32()) << 12n);
  }
  return table;
}

async function monitorOf({ monitor }: Guest): Promise<QmpConnection> {
  const qmp = await connectQmp(monitor);
  onTestFinished(() => {
    qmp.close();
  });
  return qmp;
}

function needQemu({ skip }: TestContext): void {
  skip(missing !== undefined, missing);
}

/** What a user has set, and what this must set back. */
async function settingsOf({ qemu }: Guest): Promise<unknown> {
  return [await qemu.ask('query-migrate-capabilities'), await qemu.ask('query-migrate-parameters')];
}

test(
  'kvm-htab save --qmp saves the table of a running guest, and the guest runs on',
  async (context) => {
    needQemu(context);
    let wanted: HptTable | undefined;
    const guest = await startGuestWith((order) => (wanted = tableOf(order)));
    await guest.qemu.ask('migrate-set-capabilities', {
      capabilities: [{ capability: 'xbzrle', state: true }],
    });
    const before = await settingsOf(guest);
    const [file, output] = [scratch('guest.hpt'), captureOutput()];
    const code = await run(['save', '--qmp', guest.monitor, file, '--json'], output);
    expect([code, output.stderr.text]).toEqual([0, '']);
    const report = JSON.parse(output.stdout.text) as Record<string, unknown>;
    expect(report).toMatchObject({
      ...{ guestState: 'running', validEntries: wanted!.validCount, findings: [{ kind: 'misplaced' }] },
      ...{ memoryBytes: 256 << 20, sharedBytes: 0, stopMs: expect.any(Number) as number },
    });
    const { table } = await readSnapshot(file);
    expect(compareTables(table, wanted!).count).toBe(0);
    expect([await guest.qemu.status(), await settingsOf(guest)]).toEqual(['running', before]);
    const second = await readQemuTable(await monitorOf(guest));
    expect(compareTables(second.stream.table!, table).count).toBe(0);
    expect(await guest.qemu.status()).toBe('running');
    expect(readdirSync(path.dirname(guest.monitor))).toEqual(['second']);
  },
  TIMEOUT_MS,
);

test(
  'a guest that was paused before stays so, and the command says what it does',
  async (context) => {
    needQemu(context);
    const guest = await startGuest(...SHARED);
    await guest.qemu.ask('stop');
    const output = captureOutput();
    const code = await run(['save', '--qmp', guest.monitor, scratch('guest.hpt')], output);
    expect(code).toBe(0);
    expect(output.stderr.text).toMatch(/keeps the page table only: it stands still, and is left so \(.*\)\. Memory of the guest: 268 MB \(268 MB shared, and left out\)$/m); // prettier-ignore
    expect(output.stdout.text).toMatch(/^guest {14}was paused before\nguest is {11}(postmigrate|paused)$/m);
    expect(['paused', 'postmigrate']).toContain(await guest.qemu.status());
    await guest.qemu.ask('cont');
    expect(await guest.qemu.status()).toBe('running');
    const { stream } = await readQemuTable(await monitorOf(guest));
    expect(stream.capabilities).toContain('x-ignore-shared');
  },
  TIMEOUT_MS,
);

test(
  'a save that is interrupted ends with its reason, and the guest runs on',
  async (context) => {
    needQemu(context);
    const guest = await startGuest();
    const before = await settingsOf(guest);
    const controller = new AbortController();
    const taking = readQemuTable(await monitorOf(guest), {
      signal: controller.signal,
      onProgress: () => {
        controller.abort(new Error('interrupted'));
      },
    });
    await expect(taking).rejects.toThrow('interrupted');
    expect([await guest.qemu.status(), await settingsOf(guest)]).toEqual(['running', before]);
  },
  TIMEOUT_MS,
);

test(
  'a command that is killed in the middle leaves a guest that runs',
  async (context) => {
    needQemu(context);
    context.skip(notCompiled !== undefined, notCompiled);
    const guest = await startGuest();
    const child = spawn(process.execPath, [MAIN, 'save', '--qmp', guest.monitor, scratch('guest.hpt')]);
    await once(child.stderr, 'data');
    const { status } = await guest.qemu.ask<{ status?: string }>('query-migrate');
    child.kill('SIGKILL');
    await once(child, 'exit');
    await guest.qemu.reached('running');
    for (;;) {
      const { status: ended } = await guest.qemu.ask<{ status?: string }>('query-migrate');
      if (ended === 'failed' || ended === undefined) break;
    }
    expect([await guest.qemu.status(), status === 'completed']).toEqual(['running', false]);
  },
  TIMEOUT_MS,
);

test(
  'a guest that QEMU migrates already is left alone',
  async (context) => {
    needQemu(context);
    const guest = await startGuest();
    const slow = { 'max-bandwidth': 1000 };
    await guest.qemu.ask('migrate-set-parameters', slow);
    await guest.qemu.ask('migrate', { uri: `exec:cat > ${scratch('slow.mig')}` });
    const output = captureOutput();
    expect(await run(['save', '--qmp', guest.monitor, scratch('guest.hpt')], output)).toBe(1);
    expect(output.stderr.text).toMatch(/migrates the guest \((setup|active)\): a reader would take changes/);
    const { status } = await guest.qemu.ask<{ status: string }>('query-migrate');
    expect(['setup', 'active']).toContain(status);
    expect(existsSync(scratch('guest.hpt'))).toBe(false);
  },
  TIMEOUT_MS,
);
