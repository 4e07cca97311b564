import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type QmpConnection, connectQmp } from '../../../lib/qemu/qmp/connection.js';
import { describeHost } from '../host.js';
import { unlessNotListening, until } from '../until.js';

export type QemuSeries = '7.2' | '10.0';

/** The emulated processor has none of these, and QEMU does not start a guest that would rely on them. */
const CAPABILITIES = ['cap-cfpc=broken', 'cap-sbbc=broken', 'cap-ibs=broken', 'cap-ccf-assist=off'];
const MORE_ON_HASH_HOST: Readonly<Record<QemuSeries, readonly string[]>> = {
  '7.2': [],
  '10.0': ['cap-ail-mode-3=off'],
};
const ROOT = '/qemu';
const FAST_BYTES_PER_SECOND = 2 ** 40;
const SLOW_BYTES_PER_SECOND = 2 << 20;
/** What passes the stream on is slow here: with less time a guest that works would never be ready to go. */
const PATIENT_MS = 8000;

/** What the guest's worker has told of itself. */
export interface Work {
  readonly checks: number;
  /** Pages that did not hold what the worker wrote. */
  readonly wrong: number;
}

/** What the guest knows of some addresses. */
export interface GuestView {
  /** Of the kernel's text. */
  readonly text: readonly [start: bigint, end: bigint];
  /** Of pages of the worker: their address, and where in the guest's memory they lie. */
  readonly pages: readonly (readonly [address: bigint, memory: bigint])[];
}

/** Debian's QEMU with a Linux guest in a hash table of the host's kernel. */
export class Qemu implements AsyncDisposable {
  readonly pid: number;
  readonly qmp: QmpConnection;
  /** A second monitor, for the commands of this package. */
  readonly monitorPath: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  /** On an emulated POWER8 a guest may find its memory changed once it has moved, also if nothing but QEMU took part. */
  readonly #mayForget: boolean;

  private constructor(child: ChildProcess, folder: string, qmp: QmpConnection, hasMoved: boolean) {
    this.pid = child.pid!;
    this.qmp = qmp;
    this.monitorPath = join(folder, 'monitor');
    this.#child = child;
    this.#folder = folder;
    this.#mayForget = hasMoved && describeHost().processor === 'power8';
  }

  /**
   * @param incoming more arguments: how it gets a guest, where it does not boot one
   * @param signal limits how long it may take to answer
   */
  static async start(
    series: QemuSeries,
    signal: AbortSignal,
    incoming: readonly string[] = [],
  ): Promise<Qemu> {
    const folder = mkdtempSync(join(tmpdir(), 'qemu-'));
    const path = join(folder, 'qmp');
    const args = [ROOT, 'qemu-system-ppc64', ...argumentsOf(series, folder), ...incoming];
    const child = spawn('chroot', args, { stdio: ['ignore', 'inherit', 'inherit'] });
    try {
      const monitor = await until(() => {
        assert.equal(child.exitCode, null, 'QEMU ended');
        return connectQmp(path, { signal, timeoutMs: 60_000 }).catch(unlessNotListening);
      }, signal);
      return new Qemu(child, folder, monitor, incoming.length > 0);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Where the kernel shows the table. */
  get debugfsPath(): string {
    const kvm = '/sys/kernel/debug/kvm';
    const name = readdirSync(kvm).find((each) => each.startsWith(`${this.pid}-`));
    return join(kvm, name!, 'htab');
  }

  /** The run state of the guest, as `running`. */
  async status(): Promise<string> {
    return (await this.qmp.execute<{ status: string }>('query-status')).status;
  }

  /** Begins a migration that ends as soon as it can. */
  async migrate(uri: string): Promise<void> {
    await this.#migrate(uri, { downtimeMs: PATIENT_MS });
  }

  /** Begins a migration to nowhere that waits for ever, before its last step, to be cancelled. */
  async migrateForEver(): Promise<void> {
    // With a shorter stop it makes more passes, and reads the table before it waits.
    await this.#migrate('exec:cat > /dev/null', { downtimeMs: 1, waits: true });
  }

  /** Begins a migration that takes minutes, until {@link hurry}. */
  async migrateSlowly(uri: string): Promise<void> {
    await this.#migrate(uri, { downtimeMs: 1, bytesPerSecond: SLOW_BYTES_PER_SECOND });
  }

  /** Lets a slow migration end. */
  async hurry(): Promise<void> {
    await this.qmp.execute('migrate-set-parameters', {
      'max-bandwidth': FAST_BYTES_PER_SECOND,
      'downtime-limit': PATIENT_MS,
    });
  }

  /** Has the guest's kernel resize its table. */
  async resizeTable(order: number, signal: AbortSignal): Promise<void> {
    const socket = connect({ path: join(this.#folder, 'orders') });
    await once(socket, 'connect');
    socket.write(`${order}\n`);
    const told = await until(
      () => new RegExp(`worker: resizing to order ${order}: (.*)\r?\n`).exec(this.#console())?.[1],
      signal,
    );
    socket.destroy();
    assert.equal(told, 'done');
  }

  async #migrate(
    uri: string,
    { downtimeMs = 0, waits = false, bytesPerSecond = FAST_BYTES_PER_SECOND },
  ): Promise<void> {
    const capabilities = {
      'return-path': !uri.startsWith('exec:'),
      'pause-before-switchover': waits,
    };
    await this.qmp.execute('migrate-set-capabilities', {
      capabilities: Object.entries(capabilities).map(([capability, state]) => ({ capability, state })),
    });
    const parameters = { 'max-bandwidth': bytesPerSecond, 'downtime-limit': downtimeMs };
    await this.qmp.execute('migrate-set-parameters', parameters);
    await this.qmp.execute('migrate', { uri });
  }

  /** @returns how a migration has ended, as `completed` */
  async migrated(signal: AbortSignal): Promise<string> {
    return until(async () => {
      const { status } = await this.qmp.execute<{ status?: string }>('query-migrate');
      assert.ok(status !== undefined, 'there was no migration');
      return ['completed', 'failed', 'cancelled'].includes(status) ? status : undefined;
    }, signal);
  }

  /** Writes the stream of a stopped guest into a file. */
  async writeStream(file: string, signal: AbortSignal): Promise<void> {
    await this.migrate(`exec:cat > ${file}`);
    assert.equal(await this.migrated(signal), 'completed');
  }

  /** Waits until the guest has worked on from here, and checks that it has found nothing wrong in its memory. */
  async works(signal: AbortSignal): Promise<Work> {
    const before = this.#work()?.checks ?? 0;
    const work = await until(() => {
      const work = this.#work();
      return work !== undefined && work.checks > before && work.checks > 1000 ? work : undefined;
    }, signal);
    if (!this.#mayForget) assert.equal(work.wrong, 0, this.#console());
    return work;
  }

  /** What the guest has told at its start, of a guest that was booted here. */
  view(): GuestView {
    const told = [...this.#console().matchAll(/^(text|page) ([0-9a-f]+) ([0-9a-f]+)\r?$/gm)];
    const pairs = told.map(([, kind, from, to]) => ({
      kind,
      pair: [BigInt(`0x${from}`), BigInt(`0x${to}`)] as const,
    }));
    const text = pairs.find(({ kind }) => kind === 'text');
    assert.ok(text !== undefined, this.#console());
    return { text: text.pair, pages: pairs.filter(({ kind }) => kind === 'page').map(({ pair }) => pair) };
  }

  /** Waits for its end, as of a destination that has got no guest. */
  async ended(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.qmp.close();
    this.#child.kill('SIGKILL');
    await this.ended();
  }

  #work(): Work | undefined {
    const told = [...this.#console().matchAll(/worker: (\d+) checks, (\d+) wrong\r?\n/g)].at(-1);
    return told && { checks: Number(told[1]), wrong: Number(told[2]) };
  }

  #console(): string {
    const file = join(this.#folder, 'console');
    return existsSync(file) ? readFileSync(file, 'latin1') : '';
  }
}

function argumentsOf(series: QemuSeries, folder: string): string[] {
  const more = describeHost().mmu === 'hash' ? MORE_ON_HASH_HOST[series] : [];
  const machine = ['pseries', 'accel=kvm', ...CAPABILITIES, ...more].join(',');
  const monitors = ['qmp', 'monitor'].map((name) => [
    '-qmp',
    `unix:${join(folder, name)},server=on,wait=off`,
  ]);
  return [
    [
      '-M',
      machine,
      '-cpu',
      'host',
      '-m',
      '256M',
      '-smp',
      '1',
      '-nodefaults',
      '-display',
      'none',
      '-no-reboot',
    ],
    ['-serial', `file:${join(folder, 'console')}`, ...monitors.flat()],
    ['-serial', `unix:${join(folder, 'orders')},server=on,wait=off`],
    ['-kernel', '/boot/vmlinux', '-initrd', '/app/bin/guest.cpio.gz'],
    ['-append', 'console=hvc0 quiet disable_radix panic=-1'],
  ].flat();
}
