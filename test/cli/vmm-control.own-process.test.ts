import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import * as handover from '../../lib/vm/kvm/handover.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';
import { giveTables } from './vmm-tables.js';

// There is no HTAB descriptor on this machine: emulated VMs stand where the VMM's would.
vi.mock('../../lib/vm/kvm/handover.js');

const scratch = scratchFiles();
let source: EmulatedVm;
let target: EmulatedVm;
let guest: GuestWorkload;

beforeEach(async () => {
  source = new EmulatedVm();
  target = new EmulatedVm();
  await source.allocateHpt(18);
  await target.allocateHpt(18);
  guest = new GuestWorkload(source, { seed: 1, pages: 8000 });
  guest.step(2000);
  giveTables(source, target);
});

/** A VMM that moves tables alone. */
const NO_REST = 'error no such request';
const TABLE_ONLY: Readonly<Record<string, string>> = { 'rest-ms': NO_REST, 'can-accept': NO_REST };

/** A VMM's control socket: keeps its requests for the guest, and gives these answers. */
async function startVmm(
  answers: Readonly<Record<string, string>> = {},
): Promise<{ at: string; lines: string[] }> {
  const at = scratch('vmm');
  const lines: string[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      const line = chunk.toString().trimEnd();
      if (!(line in TABLE_ONLY)) lines.push(line);
      socket.write(`${answers[line] ?? TABLE_ONLY[line] ?? 'ok'}\n`);
    });
  }).listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return { at, lines };
}

/** Moves the guest with both commands; their exit codes, and what the source said. */
async function move(vmm: string, ...args: string[]): Promise<{ codes: number[]; said: string }> {
  const at = scratch('socket');
  const output = captureOutput();
  const to = ['receive', `unix:${at}`, '--quiet', '--htab-socket', vmm, '--timeout-ms', '7000'];
  const receiving = run(to, captureOutput());
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const sending = run(
    ['send', `unix:${at}`, '--quiet', '--htab-socket', vmm, '--reconnect-ms', '0', ...args],
    output,
  );
  return { codes: await Promise.all([sending, receiving]), said: output.stderr.text };
}

test('send pauses the guest over the control socket of its VMM', async () => {
  const { at, lines } = await startVmm();
  expect(await move(at)).toEqual({ codes: [0, 0], said: '' });
  expect(lines).toEqual(['pause']);
  expect(digestTable(target.table!)).toBe(digestTable(source.table!));
});

test('a VMM has --timeout-ms or --pause-timeout-ms for each answer', async () => {
  const { at } = await startVmm();
  expect((await move(at, '--pause-timeout-ms', '5000')).codes).toEqual([0, 0]);
  for (const [request, timeoutMs] of [
    ['open-read', 5000],
    ['open-write', 7000],
    ['open-read-next', 7000],
  ] as const) {
    expect(handover.requestHtab).toHaveBeenCalledWith(at, { request: `${request}\n`, timeoutMs });
  }
});

test('a VMM that refuses to pause is asked to resume the guest, which stays', async () => {
  const { at, lines } = await startVmm({ pause: 'error it faults' });
  const { codes, said } = await move(at);
  expect(codes[0]).not.toBe(0);
  expect(codes[1]).toBe(1);
  expect(said).toContain('refuses to pause: "error it faults"');
  expect(lines).toEqual(['pause', 'resume']);
  expect(target.table!.validCount).toBe(0);
});

test('a VMM that does not resume the guest leaves it stopped, with an exit code of its own', async () => {
  const { at, lines } = await startVmm({ pause: 'error it faults', resume: 'error gone' });
  const { codes, said } = await move(at);
  expect(codes).toEqual([5, 1]);
  expect(said).toContain('the guest could not be resumed: it is here, unharmed and stopped');
  expect(lines).toEqual(['pause', 'resume']);
});

test('what a VMM says reaches neither a terminal nor a line of JSON with anything that they act upon', async () => {
  const { at } = await startVmm({ pause: 'error \u009b2J\u007f\u202e\u2028' });
  expect((await move(at)).said).toContain('refuses to pause: "error \\u009b2J\\u007f\\u202e\\u2028"');
});

test('--json reports a failure in the same words as the text, its causes included', async () => {
  const { at } = await startVmm({ pause: 'error it faults', resume: 'error gone' });
  const socket = scratch('socket');
  const receiving = run(['receive', `unix:${socket}`, '--quiet', '--htab-socket', at], captureOutput());
  while (!existsSync(socket)) await new Promise((resolve) => setImmediate(resolve));
  const { stdout, stderr } = captureOutput();
  await run(['send', `unix:${socket}`, '--json', '--htab-socket', at, '--reconnect-ms', '0'], {
    stdout,
    stderr,
  });
  await receiving;
  const failed = JSON.parse(stdout.text.trimEnd().split('\n').at(-1)!) as { message: string };
  expect(failed).toMatchObject({ event: 'failed', exitCode: 5 });
  expect(failed.message).toContain('refuses to resume: "error gone"');
  expect(stderr.text).toBe(`kvm-htab: ${failed.message}\n`);
});

/** A VMM that serves each connection by itself, what comes over it in turn; it pauses once this has happened. */
async function startSlowVmm(paused: (resumed: Promise<void>) => Promise<void>): Promise<{
  at: string;
  done: string[];
}> {
  const at = scratch('vmm');
  const done: string[] = [];
  let sawResume = (): void => undefined;
  const pausing = paused(
    new Promise((resolve) => {
      sawResume = resolve;
    }),
  );
  const server = createServer((socket) => {
    let turn = Promise.resolve();
    socket.on('data', (chunk) => {
      const line = chunk.toString().trimEnd();
      if (line === 'resume') sawResume();
      turn = turn.then(async () => {
        if (line === 'pause') await pausing;
        if (!(line in TABLE_ONLY)) done.push(line);
        socket.write(`${TABLE_ONLY[line] ?? 'ok'}\n`);
      });
    });
    socket.on('error', () => undefined);
  }).listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return { at, done };
}

test('a guest whose VMM pauses it only after the limit is resumed after that', async () => {
  const { at, done } = await startSlowVmm((resumed) => resumed);
  const { codes, said } = await move(at, '--pause-timeout-ms', '2000');
  expect(codes).toEqual([1, 1]);
  expect(said).toContain('did not pause: no answer within 2000 ms');
  expect(done).toEqual(['pause', 'resume']);
});

test('a guest that its VMM may pause at any time is said to stand still', async () => {
  const { at, done } = await startSlowVmm(() => new Promise(() => undefined));
  const { codes, said } = await move(at, '--pause-timeout-ms', '2000');
  expect(codes).toEqual([5, 1]);
  expect(said).toContain('the guest could not be resumed: it is here, unharmed and stopped');
  expect(done).toEqual([]);
});

test('a guest that changes too much is slowed down over it, and gets its full speed back if that does not help', async () => {
  const { at, lines } = await startVmm();
  const { codes, said } = await move(at, ...['--if-not-converging', 'throttle', '--downtime-ms', '0']);
  expect(codes).toEqual([1, 1]);
  expect(said).toContain('the table changes too fast');
  expect(lines).toEqual([...[1, 2, 3, 4, 5, 6, 7, 8, 0].map((step) => `throttle ${step}`)]);
});

test('--recheck-source finds what another reader of the table has taken, and the guest stays', async () => {
  const { at, lines } = await startVmm();
  const thief = await source.openHtab();
  const buffer = new Uint8Array(1 << 20);
  while ((await thief.read(buffer)) > 0);
  // What it takes once both have read everything, the migration never sees.
  vi.mocked(handover.requestHtab).mockImplementationOnce(async () => {
    const handle = await source.openHtab();
    const read = handle.read.bind(handle);
    let reads = 0;
    handle.read = async (into) => {
      if (++reads === 3) {
        guest.step(200);
        while ((await thief.read(buffer)) > 0);
      }
      return read(into);
    };
    return { handle, text: 'ok 18\n' } as unknown as handover.ReceivedHtab;
  });
  const { codes, said } = await move(at, '--recheck-source');
  expect(codes).toEqual([1, 1]);
  expect(said).toMatch(/entry \d+|ptex \d+/);
  expect(lines).toEqual(['pause', 'resume']);
});
