import { existsSync } from 'node:fs';
import { beforeEach, expect, test, vi } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import * as handover from '../../lib/vm/kvm/handover.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';

// There is no HTAB descriptor on this machine: an emulated VM stands where the VMM's would.
vi.mock('../../lib/vm/kvm/handover.js');

const scratch = scratchFiles();
const HOOKS = ['--on-pause', 'true', '--on-resume', 'true'];
const DESCRIPTOR = ['--htab-fd', '3', '--order', '18', ...HOOKS];

beforeEach(async () => {
  const source = new EmulatedVm();
  const target = new EmulatedVm();
  for (const vm of [source, target]) await vm.allocateHpt(18);
  new GuestWorkload(source, { pages: 8000 }).step(2000);
  vi.mocked(handover.adoptHtab).mockImplementation(
    async (fd) => (await (fd === 3 ? source.openHtab() : target.openHtab({ access: 'write' }))) as never,
  );
});

/** Runs a command that must end well. */
async function said(...args: string[]): Promise<string> {
  const output = captureOutput();
  expect(await run(args, output), output.stderr.text).toBe(0);
  return output.stdout.text;
}

/** Moves a table from and to these places. */
async function send(from: readonly string[], to: readonly string[], ...args: string[]): Promise<string> {
  const at = scratch('socket');
  const receiving = said('receive', `unix:${at}`, '--quiet', ...to);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const [text] = await Promise.all([said('send', `unix:${at}`, ...from, ...args), receiving]);
  return text;
}

test('save says of a descriptor alone that its table was not rechecked, to people and to programs', async () => {
  expect(await said('save', ...DESCRIPTOR, scratch('snapshot'))).toMatch(
    /NOT RECHECKED: a descriptor alone does not show whether the guest was reset/,
  );
  const document = await said('save', '--json', ...DESCRIPTOR, scratch('snapshot'));
  expect(JSON.parse(document)).toMatchObject({ quiescent: true, sourceRechecked: false });
});

test('save says nothing of the kind where it has looked', async () => {
  const emulated = ['--emulated=order=18', scratch('snapshot')];
  expect(await said('save', ...emulated)).not.toContain('RECHECKED');
  expect(JSON.parse(await said('save', '--json', ...emulated))).toMatchObject({ sourceRechecked: true });
});

test.each([
  ['a descriptor alone', DESCRIPTOR, ['--htab-fd', '4', '--order', '18'], false],
  ['a VM', ['--emulated=order=18'], ['--emulated'], true],
] as const)(
  'send of %s says whether the table was rechecked, to people and to programs',
  async (_, from, to, rechecked) => {
    expect((await send(from, to)).includes('NOT RECHECKED')).toBe(!rechecked);
    const events = (await send(from, to, '--json')).trim().split('\n');
    const done = events
      .map((line) => JSON.parse(line) as { event: string })
      .find(({ event }) => event === 'done');
    expect(done).toMatchObject({ sourceRechecked: rechecked });
  },
);
