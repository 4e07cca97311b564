import type { Descriptor } from './addon.js';

interface Unclosed {
  readonly descriptor: Descriptor;
  readonly what: string;
}

const registry = new FinalizationRegistry<Unclosed>(({ descriptor, what }) => {
  process.emitWarning(
    `${what} was garbage-collected unclosed; until then it kept the VM alive and slowed it`,
    {
      code: 'HTAB_UNCLOSED',
    },
  );
  void descriptor.close();
});

/** Closes the descriptor, with a warning, should its owner be collected before {@link forgetOwner}. */
export function watchOwner(owner: object, descriptor: Descriptor, what: string): void {
  registry.register(owner, { descriptor, what }, owner);
}

export function forgetOwner(owner: object): void {
  registry.unregister(owner);
}
