import type { AgentGuest } from '../../../lib/testing/agent/guest.js';
import { type HostModel, thisHost } from '../../../lib/vm/host.js';
import { ControlClient } from '../control-client.js';
import { ComparedMemory } from './compared-memory.js';
import { VmmMemory } from './vmm-memory.js';

/** A guest of vmm/live.c, as an agent moves it: all of it but its table. */
export class VmmGuest implements AgentGuest, Disposable {
  readonly memory: VmmMemory | ComparedMemory;
  readonly #vmm: ControlClient;
  readonly #file: VmmMemory;
  readonly #resume: 'resume' | 'commit';

  /** @param host on POWER8 the dirty log loses pages */
  private constructor(
    vmm: ControlClient,
    file: VmmMemory,
    { host, resume }: { readonly host: HostModel | undefined; readonly resume: 'resume' | 'commit' },
  ) {
    this.memory = host === 'power8' ? new ComparedMemory(file) : file;
    this.#vmm = vmm;
    this.#file = file;
    this.#resume = resume;
  }

  /**
   * @param resume what lets it run: `commit` one that comes to the VMM, with the table that the VMM has given out for it
   */
  static async open(socketPath: string, resume: 'resume' | 'commit'): Promise<VmmGuest> {
    const vmm = await ControlClient.open(socketPath);
    return new VmmGuest(vmm, await VmmMemory.open(vmm), { host: await thisHost(), resume });
  }

  /** What the stop takes beside the last pages, in ms. */
  async compareMs(): Promise<number> {
    return this.memory instanceof ComparedMemory ? this.memory.compareMs() : 0;
  }

  async registers(): Promise<Uint8Array> {
    const [registers = ''] = await this.#vmm.words('registers');
    return Buffer.from(registers, 'hex');
  }

  async setRegisters(registers: Uint8Array): Promise<void> {
    await this.#vmm.words(`set-registers ${Buffer.from(registers).toString('hex')}`);
  }

  async pause(): Promise<void> {
    await this.#vmm.words('pause');
    if (this.memory instanceof ComparedMemory) this.memory.isStill = true;
  }

  async resume(): Promise<void> {
    if (this.memory instanceof ComparedMemory) this.memory.isStill = false;
    await this.#vmm.words(this.#resume);
  }

  /** The guest runs elsewhere: its VM goes, and its memory is zeros. */
  async leave(): Promise<void> {
    await this.#vmm.words('leave');
  }

  /** The guest does not come. */
  async drop(): Promise<void> {
    await this.#vmm.words('drop');
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    this.#vmm[Symbol.dispose]();
  }
}
