import { type Descriptor, discard } from './addon.js';

interface Unclosed {
  readonly descriptor: Descriptor;
  readonly what: string;
}

const registry = new FinalizationRegistry<Unclosed>(({ descriptor, what }) => {
  process.emitWarning(`${what} was garbage-collected unclosed; it kept the VM alive, and slow, until then`, {
    code: 'HTAB_UNCLOSED',
  });
  void discard(descriptor);
});

/** Closes the descriptor, with a warning, should its owner be collected before {@link forgetOwner}. */
export function watchOwner(owner: object, descriptor: Descriptor, what: string): void {
  registry.register(owner, { descriptor, what }, owner);
}

export function forgetOwner(owner: object): void {
  registry.unregister(owner);
}
