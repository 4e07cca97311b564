import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { receiveHpt } from '../../migration/destination/receive.js';
import type { SendReport } from '../../migration/source/send-report.js';
import { sendHpt } from '../../migration/source/send.js';
import { writeTable } from '../../snapshot/write-table.js';
import { sleep } from '../../base/time.js';
import { DestinationAgent } from '../../testing/agent/destination.js';
import type { AgentGuest } from '../../testing/agent/guest.js';
import { SourceAgent } from '../../testing/agent/source.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { jsonDocument, reportFields } from '../report/json.js';
import type { Output } from '../output.js';
import { readGuestTable, replaceTable } from './guest-image.js';
import { connectLoopback } from './loopback.js';
import { emptyMachine, startGuest, type Machine } from './machine.js';
import type { DemoOptions } from './demo-options.js';
import { SideBySide } from './side-by-side.js';
import { lookFurther } from './look-further.js';
import { MemoryPace } from './memory-pace.js';
import { tableRates } from './rates.js';
import { compareWithUnmoved } from './unmoved.js';
import { describeWholeGuest, type WholeGuestOutcome } from './whole-guest-outcome.js';

/**
 * Moves all of an emulated Linux guest, memory, table and registers, with the agent of `kvm-htab/testing`, lets it go on, and
 * compares it with one that has not been moved.
 *
 * @returns the exit code: 0 only if both are equal
 */
export async function demoWholeGuest(
  options: DemoOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { seed, order, rate } = options;
  const table = replaceTable(await readGuestTable(), order);
  const pace = new MemoryPace(rate, (text) => output.stderr.write(`${text}\n`));
  const source = await startGuest(table, seed, pace);
  const target = emptyMachine(rate);
  const display = new SideBySide(output.stderr);
  const begun = performance.now();
  let report: SendReport;
  try {
    await source.guest.resume();
    report = await move({ source, target, rate, pace, display }, signal);
  } finally {
    display.stop();
    await source.guest.pause();
    await target.guest.pause();
  }
  const totalMs = performance.now() - begun;
  const verdict = await compareWithUnmoved(target, table, seed);
  const { bytes, pageBytes } = target.guest.memory;
  const outcome: WholeGuestOutcome = {
    format: 2,
    seed,
    rate,
    ...report,
    digest: report.digest(),
    totalMs,
    guest: target.guest.workload!.counts,
    memory: { bytes, pageBytes, rounds: pace.rounds },
    ...verdict,
  };
  const moved = target.vm.table!;
  if (options.save !== undefined) await writeTable(moved, options.save, signal);
  output.stdout.write(
    options.json === true
      ? jsonDocument(reportFields(outcome))
      : describeWholeGuest(outcome) + lookFurther(moved, output, options.save),
  );
  return outcome.verified ? EXIT_CODES.ok : EXIT_CODES.failed;
}

interface Move {
  readonly source: Machine;
  readonly target: Machine;
  readonly rate: number;
  readonly pace: MemoryPace;
  readonly display: SideBySide;
}

async function move({ source, target, rate, pace, display }: Move, signal: AbortSignal): Promise<SendReport> {
  const migrationId = randomUUID();
  const memory = await connectLoopback();
  const table = await connectLoopback();
  const receiver = new DestinationAgent(target.guest, migrationId);
  receiver.take(memory.server);
  const guest = paced(source.guest, pace.bytesPerSecond);
  const connectMemory = (): Promise<Duplex> => Promise.resolve(memory.client);
  const sender = new SourceAgent(guest, connectMemory, migrationId, (progress) => {
    pace.take(progress);
    display.memory(progress);
  });
  const { pause, resume } = sender;
  const rest = { ...sender.rest, stopMs: async () => pace.stopMs(await sender.rest.stopMs()) };
  const onProgress = display.table;
  const sending = sendHpt(source.vm, table.client, {
    ...tableRates(rate),
    ...{ migrationId, pause, resume, rest, signal, onProgress },
  });
  const receiving = receiveHpt(target.vm, table.server, { migrationId, rest: receiver.rest, signal });
  try {
    const [report] = await Promise.all([sending, receiving]);
    return report;
  } finally {
    await Promise.allSettled([sending, receiving]);
    await sender.close();
    for (const { client, server } of [memory, table]) {
      client.destroy();
      server.destroy();
    }
  }
}

/** A guest whose memory, where it is not zeros, is read no faster than this. */
function paced(guest: AgentGuest, bytesPerSecond: number): AgentGuest {
  const read = async (offset: number, into: Uint8Array): Promise<void> => {
    await guest.memory.read(offset, into);
    if (!Buffer.alloc(into.length).equals(into)) await sleep((into.length * 1000) / bytesPerSecond);
  };
  return {
    memory: { ...guest.memory, read },
    registers: () => guest.registers(),
    setRegisters: (registers) => guest.setRegisters(registers),
    pause: () => guest.pause(),
    resume: () => guest.resume(),
  };
}
