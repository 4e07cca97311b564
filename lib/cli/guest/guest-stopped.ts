/** A migration has failed, and so has resuming its guest: it is here, unharmed, and stands still. */
export class GuestStopped extends Error {
  override readonly name = 'GuestStopped';

  constructor(cause: unknown) {
    super('the guest is stopped, and here: resume it', { cause });
  }
}
