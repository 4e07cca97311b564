/** The memory of a guest, as an agent moves it: a VMM's on a real host, or an emulated one. */
export interface AgentMemory {
  /** Its bytes, from guest address 0 on: a multiple of `pageBytes`. At a destination they are zeros at first. */
  readonly bytes: number;
  /** Bytes that a bit of the dirty log stands for: the host's page size, 4096 to 2^20. */
  readonly pageBytes: number;
  /**
   * KVM_GET_DIRTY_LOG: which pages have been stored to since the last call, and begins anew. Bit n is page n: byte
   * n >> 3, lowest bit first. Logging has been turned on before the agent begins.
   */
  dirtyLog(): Promise<Uint8Array>;
  /** Reads guest memory; the guest may run meanwhile. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
}

/** All of a guest but its table. */
export interface AgentGuest {
  readonly memory: AgentMemory;
  /** Everything else that the guest needs to go on, once it stands still: vcpu registers, devices. */
  registers(): Promise<Uint8Array>;
  /** @throws what is wrong with the registers, which come from the peer */
  setRegisters(registers: Uint8Array): Promise<void>;
  /** Resolves once the guest stands still. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}
