import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { Vmm } from './vmm.js';

/** log2 of the bytes of the checking guest's table. */
export const CHECKER_ORDER = 22;

/** What a vcpu of the checking guest (vmm/guest/checker.c) reports. */
interface VcpuReport {
  readonly phase: number;
  readonly iteration: number;
  readonly checksum: string;
  readonly errors: number;
  readonly failures: readonly string[];
  readonly stores: number;
  /** Entries that it has removed. */
  readonly removals: number;
  /** How often it found no room for an entry in a group. */
  readonly fullGroups: number;
  readonly clearMods: number;
}

/** What the VMM tells of the guest. */
interface VmmStats {
  readonly state: 'paused' | 'running' | 'stopped' | 'faulted';
  readonly fault: string;
  /** Moves to another VM. */
  readonly commits: number;
  readonly vcpus: readonly VcpuReport[];
}

/** Both, with the sums of its vcpus; phase and iteration are those of the vcpu that is furthest behind. */
export type GuestStats = VmmStats & VcpuReport;

/** A checking guest that has set itself up; 0 iterations: it goes on for ever. */
export async function startChecker(iterations: number, vcpus = 1): Promise<Vmm> {
  const vmm = await Vmm.start('live', ['bin/checker.bin', CHECKER_ORDER, 1, iterations, vcpus]);
  while ((await stats(vmm)).phase === 0) await delay(20);
  return vmm;
}

/** The guest must have found nothing wrong. */
export async function checkedStats(vmm: Vmm): Promise<GuestStats> {
  const result = await stats(vmm);
  assert.deepEqual([result.errors, result.failures, result.fault], [0, [], '']);
  return result;
}

/** Waits until the guest, which runs, has got further; it must find nothing wrong. */
export async function checkGoesOn(vmm: Vmm): Promise<GuestStats> {
  const { state, iteration } = await checkedStats(vmm);
  assert.equal(state, 'running');
  for (;;) {
    const later = await checkedStats(vmm);
    if (later.iteration > iteration) return later;
    await delay(20);
  }
}

/**
 * Lets a guest, wherever it is, run a little further, and compares what it has computed with what a guest computes that
 * stays in one VM.
 *
 * @returns the iteration at which they were compared; the guest is through with its work
 */
export async function compareWithUnmoved(guest: Vmm): Promise<number> {
  await guest.ask('pause');
  const { iteration, vcpus } = await checkedStats(guest);
  // Vcpus wait for each other every 256 iterations: none is that far.
  const last = iteration + 2000;
  await guest.ask(`stop-at ${last}`);
  await guest.ask('resume');
  await using unmoved = await startChecker(last, vcpus.length);
  assert.equal(await finalChecksum(guest), await finalChecksum(unmoved));
  return last;
}

async function finalChecksum(guest: Vmm): Promise<string> {
  while ((await checkedStats(guest)).state === 'running') await delay(50);
  const { state, checksum } = await checkedStats(guest);
  assert.equal(state, 'stopped');
  return checksum;
}

/** Whether a guest runs here; there may be none. */
export async function isRunning(vmm: Vmm): Promise<boolean> {
  return (await stats(vmm)).state === 'running';
}

async function stats(vmm: Vmm): Promise<GuestStats> {
  const told = JSON.parse(await vmm.ask('stats')) as VmmStats;
  const { vcpus } = told;
  const sum = (of: (vcpu: VcpuReport) => number): number =>
    vcpus.reduce((total, vcpu) => total + of(vcpu), 0);
  return {
    ...told,
    phase: Math.min(...vcpus.map(({ phase }) => phase)),
    iteration: Math.min(...vcpus.map(({ iteration }) => iteration)),
    checksum: vcpus.map(({ checksum }) => checksum).join(' '),
    errors: sum(({ errors }) => errors),
    failures: vcpus.flatMap(({ failures }) => failures),
    stores: sum(({ stores }) => stores),
    removals: sum(({ removals }) => removals),
    fullGroups: sum(({ fullGroups }) => fullGroups),
    clearMods: sum(({ clearMods }) => clearMods),
  };
}
