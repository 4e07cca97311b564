import { beforeEach, describe, expect, test, vi } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { resizeTable } from '../../lib/testing/resize.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import * as handover from '../../lib/vm/kvm/handover.js';
import { scratchFiles } from '../scratch.js';
import { startVmm } from '../test-vmm.js';
import { captureOutput } from './capture.js';

// There is no HTAB descriptor on this machine: an emulated VM stands where the VMM's would.
vi.mock('../../lib/vm/kvm/handover.js');

const ORDER = 18;
const scratch = scratchFiles();
let vm: EmulatedVm;
let guest: GuestWorkload;

beforeEach(async () => {
  vm = new EmulatedVm();
  await vm.allocateHpt(ORDER);
  guest = new GuestWorkload(vm, { seed: 1, pages: 8000 });
  guest.step(2000);
  // Without that no table is resized.
  vm.enterGuest();
  vi.mocked(handover.requestHtab).mockImplementation(async (_path, options) => {
    const [, startIndex = 0] = /^open-read(?: (\d+))?\n$/.exec(options!.request!) ?? [];
    const handle = await vm.openHtab({ startIndex: Number(startIndex) });
    return { handle, text: `ok ${ORDER}\n` } as unknown as handover.ReceivedHtab;
  });
});

/** An event of `watch --json`. */
interface WatchEvent {
  readonly event: string;
  readonly pass: number;
  readonly come: number;
  readonly gone: number;
  readonly changed: number;
}

/** Watches over a VMM's control socket for 4 passes; after each of them something happens to the guest. */
async function watchVmm(between: (pass: number) => Promise<void> | void): Promise<{
  code: number;
  events: WatchEvent[];
  said: string;
  lines: string[];
}> {
  const { at, lines } = await startVmm(scratch('vmm'), () => 'ok\n');
  const output = captureOutput();
  const write = output.stdout.write.bind(output.stdout);
  let acted = Promise.resolve();
  output.stdout.write = ((chunk: string): boolean => {
    const { event, pass } = JSON.parse(chunk) as WatchEvent;
    if (event === 'pass') acted = acted.then(() => between(pass));
    return write(chunk);
  }) as typeof output.stdout.write;
  const args = ['--htab-socket', at, '--passes', '4', '--interval-ms', '50', '--json'];
  const code = await run(['watch', ...args], output);
  await acted;
  const events = output.stdout.text.trimEnd().split('\n').map((line) => JSON.parse(line) as WatchEvent); // prettier-ignore
  return { code, events, said: output.stderr.text, lines };
}

describe("kvm-htab watch over a VMM's control socket", () => {
  test('shows what the guest changes, and asks the VMM for nothing but its table', async () => {
    const { code, events, lines } = await watchVmm(() => {
      guest.step(300);
    });
    expect(code).toBe(0);
    expect(events.map(({ event }) => event)).toEqual(['pass', 'pass', 'pass', 'pass', 'done']);
    for (const { come, gone, changed } of events.slice(1, -1)) {
      expect(come + gone + changed).toBeGreaterThan(0);
    }
    expect(events.at(-1)).toMatchObject({ passes: 4, sourceRechecked: true });
    expect(lines).toEqual([]);
  });

  test.each([
    ['resets', () => vm.allocateHpt(ORDER), 1, 'The table is not the one that was read'],
    ['rehashes its table', () => resizeTable(vm, ORDER), 1, 'The table is not the one that was read'],
    ['resizes its table', () => resizeTable(vm, ORDER + 1), 1, 'does not have order 18'],
    ['goes to radix', () => vm.configureMmu('radix'), 3, 'the guest has no hashed page table'],
  ] as const)('fails where the guest %s', async (_what, change, wanted, text) => {
    const { code, events, said } = await watchVmm(async (pass) => {
      if (pass === 2) await change();
    });
    expect([code, events.map(({ event }) => event)]).toEqual([wanted, ['pass', 'pass', 'failed']]);
    expect(said).toContain(text);
  });
});
