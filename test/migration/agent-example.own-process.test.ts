import { once } from 'node:events';
import { connect as netConnect, createServer, type AddressInfo } from 'node:net';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import { channels, type OutcomeEvent } from '../../lib/migration/events.js';
import { MIN_ORDER } from '../../lib/hpt/geometry.js';
import type { SecurityOptions } from '../../lib/transport/security.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import * as handover from '../../lib/vm/kvm/handover.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates } from '../transport/certificates.js';
import { sendGuest, takeGuests } from './agent-example.js';

// This machine has no HTAB descriptors: those of emulated VMs take their place.
vi.mock('../../lib/vm/kvm/handover.js');

const scratch = scratchFiles();
/** By the control socket of its VMM. */
const vms = new Map<string, EmulatedVm>();

beforeEach(() => {
  vi.mocked(handover.requestHtab).mockImplementation(async (path, options) => {
    const vm = vms.get(path)!;
    const access = options!.request === 'open-write\n' ? 'write' : 'read';
    const handle = await vm.openHtab({ access });
    return { handle, text: `ok ${vm.hptOrder}\n` } as unknown as handover.ReceivedHtab;
  });
});

/** A VMM with a guest, or with an empty VM for one; what it was asked. */
async function startVmm(seed?: number): Promise<{ at: string; vm: EmulatedVm; lines: string[] }> {
  const at = scratch('vmm');
  const lines: string[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      lines.push(chunk.toString().trimEnd());
      socket.write('ok\n');
    });
  }).listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  const vm = new EmulatedVm();
  await vm.allocateHpt(MIN_ORDER);
  if (seed !== undefined) new GuestWorkload(vm, { seed, pages: 4000 }).step(500);
  vms.set(at, vm);
  return { at, vm, lines };
}

/** Waits until a connection to this address succeeds. */
async function untilListening(address: string): Promise<void> {
  const { hostname, port, pathname } = new URL(address);
  await vi.waitFor(async () => {
    const socket = netConnect(port === '' ? { path: pathname } : { host: hostname, port: Number(port) });
    try {
      await once(socket, 'connect');
    } finally {
      socket.destroy();
    }
  }, 30_000);
}

/** A port that is free at the moment. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function moveGuests(
  address: string,
  tls: { ofA?: SecurityOptions; ofB?: SecurityOptions },
): Promise<void> {
  const pairs = await Promise.all(
    [1, 2].map(async (seed) => [await startVmm(seed), await startVmm()] as const),
  );
  const guests = pairs.map(([, { at }], k) => ({ migrationId: `guest-${k}`, vmm: at }));
  const hostB = { journal: scratch('journal'), tls: tls.ofB ?? {} };
  const hostA = { journal: scratch('journal'), tls: tls.ofA ?? {} };
  const moved: string[] = [];
  const onOutcome = ({ side, migrationId, outcome }: OutcomeEvent): void => {
    if (side === 'destination' && outcome === 'moved') moved.push(migrationId);
  };
  channels.outcome.subscribe(onOutcome);
  onTestFinished(() => {
    channels.outcome.unsubscribe(onOutcome);
  });

  const stop = new AbortController();
  const taken = takeGuests(guests, address, hostB, stop.signal);
  await untilListening(address);
  // In another order than the agent was given them.
  for (const k of [1, 0]) {
    const [{ at, vm, lines }, target] = pairs[k]!;
    const report = await sendGuest({ migrationId: `guest-${k}`, vmm: at }, address, hostA);
    expect(report).toMatchObject({ acknowledged: 'directly', sourceRechecked: true });
    expect(lines).toEqual(['pause']);
    expect(digestTable(target.vm.table!)).toBe(digestTable(vm.table!));
  }
  stop.abort();
  await taken;
  expect(moved).toEqual(['guest-1', 'guest-0']);
}

test("the README's agent moves two guests over one listener", async () => {
  await moveGuests(`unix:${scratch('agent')}`, {});
});

test.skipIf(noCertificates !== undefined)("the README's agent moves two guests over TLS", async () => {
  const authority = new Authority('fleet', scratch);
  await moveGuests(`tls://127.0.0.1:${await freePort()}`, {
    ofA: authority.issue('DNS:host-a'),
    ofB: { ...authority.issue('IP:127.0.0.1'), peerName: 'host-a' },
  });
});
