import type { Duplex } from 'node:stream';
import type { Journal } from '../../../lib/migration/journal/journal.js';
import type { HtabHandle, HtabVm } from '../../../lib/vm/contract.js';

/**
 * The life of a process that exists only in thought. Once it has ended, nothing that belongs to it has any effect any
 * more: every call out of it hangs for good, as SIGKILL leaves it, and its connections are reset.
 */
export class MortalProcess {
  #over = false;
  readonly #channels = new Set<Duplex>();
  #died!: () => void;
  /** Resolves when it is over. */
  readonly death = new Promise<void>((resolve) => (this.#died = resolve));

  /** Descriptors that are open. */
  openHandles = 0;

  get over(): boolean {
    return this.#over;
  }

  kill(): void {
    this.#over = true;
    for (const channel of this.#channels) channel.destroy();
    this.#died();
  }

  owns<T extends Duplex>(channel: T): T {
    this.#channels.add(channel);
    if (this.#over) channel.destroy();
    return channel;
  }

  /** A call out of the process: it does not return to the dead, and the dead do not make it. */
  async call<T>(action: () => T | Promise<T>): Promise<T> {
    await this.#untilDeath();
    const result = await action();
    await this.#untilDeath();
    return result;
  }

  #untilDeath(): Promise<void> {
    return this.#over ? new Promise<never>(() => undefined) : Promise.resolve();
  }

  vm(vm: HtabVm): HtabVm {
    const facade: Omit<HtabVm, 'hptOrder'> = {
      backend: vm.backend,
      allocateHpt: (order: number) => this.call(() => vm.allocateHpt(order)),
      prepareHptResize: (order: number) => this.call(() => vm.prepareHptResize(order)),
      commitHptResize: (order: number) => this.call(() => vm.commitHptResize(order)),
      openHtab: (options) => this.call(async () => this.#handle(await vm.openHtab(options))),
      close: () => this.call(() => vm.close()),
      [Symbol.asyncDispose]: () => this.call(() => vm.close()),
    };
    return Object.defineProperty(facade, 'hptOrder', { get: () => vm.hptOrder }) as HtabVm;
  }

  journal(journal: Journal): Journal {
    return {
      entries: (side) => this.call(() => journal.entries(side)),
      find: (side, id) => this.call(() => journal.find(side, id)),
      begin: (record) => this.call(() => journal.begin(record)),
      decide: (side, id, decision) => this.call(() => journal.decide(side, id, decision)),
      close: () => this.call(() => journal.close()),
      [Symbol.asyncDispose]: () => this.call(() => journal.close()),
    };
  }

  #handle(handle: HtabHandle): HtabHandle {
    this.openHandles++;
    let open = true;
    const close = async (): Promise<void> => {
      await handle.close();
      if (open) this.openHandles--;
      open = false;
    };
    // The kernel closes what the dead leave open.
    void this.death.then(close);
    return {
      access: handle.access,
      read: (buffer) => this.call(() => handle.read(buffer)),
      write: (bytes) => this.call(() => handle.write(bytes)),
      writeRecords: (bytes) => this.call(() => handle.writeRecords(bytes)),
      close: () => this.call(close),
      [Symbol.asyncDispose]: () => this.call(close),
    };
  }
}

/** How it ended; undefined if it died. */
export async function outcomeOfLife<T>(
  life: MortalProcess,
  promise: Promise<T>,
): Promise<PromiseSettledResult<T> | undefined> {
  const settled = Promise.allSettled([promise]).then(([result]) => result);
  const result = await Promise.race([settled, life.death.then(() => undefined)]);
  return life.over ? undefined : result;
}
