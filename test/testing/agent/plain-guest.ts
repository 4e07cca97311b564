import type { AgentGuest, AgentMemory } from '../../../lib/testing/agent/guest.js';

/** A guest that is its memory and a few bytes of registers; it stores when a test says so. */
export class PlainGuest implements AgentGuest {
  readonly bytes: Uint8Array;
  readonly memory: AgentMemory;
  state: 'running' | 'paused' = 'running';
  held: Uint8Array = new Uint8Array();
  readonly #dirty = new Set<number>();

  constructor(pages: number, pageBytes = 4096) {
    this.bytes = new Uint8Array(pages * pageBytes);
    this.memory = {
      bytes: this.bytes.length,
      pageBytes,
      dirtyLog: () => {
        const log = new Uint8Array(Math.ceil(pages / 64) * 8);
        for (const page of this.#dirty) log[page >>> 3]! |= 1 << (page & 7);
        this.#dirty.clear();
        return Promise.resolve(log);
      },
      read: (offset, into) => {
        into.set(this.bytes.subarray(offset, offset + into.length));
        return Promise.resolve();
      },
      write: (offset, bytes) => {
        this.bytes.set(bytes, offset);
        return Promise.resolve();
      },
    };
  }

  /** A store by the guest: it is in the dirty log. */
  store(page: number, value: number): void {
    this.bytes.fill(value, page * this.memory.pageBytes, (page + 1) * this.memory.pageBytes);
    this.#dirty.add(page);
  }

  registers(): Promise<Uint8Array> {
    return Promise.resolve(this.held);
  }

  setRegisters(registers: Uint8Array): Promise<void> {
    this.held = Uint8Array.from(registers);
    return Promise.resolve();
  }

  pause(): Promise<void> {
    this.state = 'paused';
    return Promise.resolve();
  }

  resume(): Promise<void> {
    this.state = 'running';
    return Promise.resolve();
  }
}
