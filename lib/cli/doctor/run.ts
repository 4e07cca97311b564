import { tableBytes } from '../../hpt/geometry.js';
import { thisHost } from '../../vm/host.js';
import { probe, type ProbeResult } from '../../vm/kvm/probe.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatBytes } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { createLineDisplay } from '../report/progress.js';
import type { EmulatedSpec } from '../table/emulated-spec.js';
import { emulated, scratchVms } from './backend.js';
import { type Examination, examine } from './examine.js';
import { type HostMemory, hasMemoryFor, hostMemory } from './host-memory.js';
import { mayHang } from './preemption.js';

/** What `kvm-htab doctor` takes. */
export interface DoctorCommandOptions {
  readonly device: string;
  readonly emulated?: EmulatedSpec;
  readonly order: number;
  readonly json?: boolean;
}

/** What is found out about a kernel and its host. */
interface Findings extends Examination {
  readonly kernel: string;
  /** log2 of the bytes of the table that was allocated for a try, and whether there was memory for it. */
  readonly order: number;
  readonly hasMemory: boolean;
  /** The kernel can hang with a guest that has a table: {@link mayHang}. */
  readonly mayHang: boolean;
  /** Not of the emulation. */
  readonly memory: HostMemory | undefined;
}

/**
 * Asks this machine's kernel, with empty VMs of its own, for all that this library depends on.
 *
 * @returns the exit code: 0; 1 where the kernel behaves otherwise than known, can hang, or lacks memory for the table
 * @throws HtabUnavailableError where this machine's KVM has no tables
 */
export async function doctor(
  options: DoctorCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const found = await findOut(options, output, signal);
  output.stdout.write(options.json === true ? jsonDocument(found) : describe(found));
  const isGood = found.differences.length === 0 && !found.mayHang && found.hasMemory;
  return isGood ? EXIT_CODES.ok : EXIT_CODES.failed;
}

async function findOut(
  { device, emulated: spec, order }: DoctorCommandOptions,
  { stderr }: Output,
  signal: AbortSignal,
): Promise<Findings> {
  const findings = spec === undefined ? await probeUsable(device) : undefined;
  const processor = (await thisHost()) ?? 'power9';
  const backend = spec === undefined ? scratchVms(device, findings!.hostMmu, processor) : emulated(spec);
  const display = createLineDisplay(stderr, ({ done, of }: { done: number; of: number }) => {
    return `asking the kernel: ${done} of ${of}`;
  });
  try {
    const examination = await examine(backend, signal, (done, of) => {
      display.update({ done, of });
    });
    return {
      kernel: findings === undefined ? backend.name : `Linux ${findings.kernel}, ${findings.hostMmu!} host`,
      order,
      hasMemory: await hasMemoryFor(await backend.createVm(), order),
      mayHang: findings !== undefined && mayHang(processor),
      memory: findings === undefined ? undefined : await hostMemory(),
      ...examination,
    };
  } finally {
    display.stop();
  }
}

async function probeUsable(device: string): Promise<ProbeResult> {
  const findings = await probe({ device });
  if (findings.problem !== undefined) throw findings.problem;
  return findings;
}

const HANG_LINES = [
  'danger: this kernel can be preempted: vcpus of a guest that has a table, and threads of the kernel, can wait for ever for a',
  '  lock that nobody holds. Boot a kernel that is built without preemption.',
];

function describe(found: Findings): string {
  const { kernel, passed, untried, differences, traps } = found;
  const lines = [
    kernel,
    `asked ${passed + differences.length} questions: ${passed} answered as known, ${differences.length} otherwise; ${untried} not asked`,
    ...memoryLines(found),
    ...(found.mayHang ? HANG_LINES : []),
    '',
    ...traps.flatMap(({ trap, kernel: does, library, verdict, reason }) => [
      `trap ${trap}, ${verdict}: the kernel ${does}`,
      `  ${reason === undefined ? '' : `not asked: ${reason}; `}this library ${library}`,
    ]),
    ...differences.flatMap(({ expected, found: what }) => [
      '',
      `differs: ${expected}`,
      ...what.split('\n').map((line) => `  ${line}`),
    ]),
  ];
  if (differences.length > 0) {
    lines.push('', 'Do not move guests on this kernel. Report this text: what differs is not known to us.');
  }
  return `${lines.join('\n')}\n`;
}

function memoryLines({ order, hasMemory, memory }: Findings): string[] {
  const table = `a table of order ${order} (${formatBytes(tableBytes(order))})`;
  const lines = [
    hasMemory
      ? `memory: ${table} was allocated and freed`
      : `memory: none for ${table}; free some, or boot with a larger kvm_cma_resv_ratio`,
  ];
  if (memory?.contiguous !== undefined) {
    const { free, total } = memory.contiguous;
    lines.push(`contiguous memory: ${formatBytes(free)} free of ${formatBytes(total)}`);
  }
  if (memory?.hugePages !== undefined) {
    const { size, total, free } = memory.hugePages;
    lines.push(
      total === 0
        ? 'huge pages: none; a guest has pages no larger than those that back its memory'
        : `huge pages: ${free} free of ${total}, of ${formatBytes(size)}`,
    );
  }
  return lines;
}
