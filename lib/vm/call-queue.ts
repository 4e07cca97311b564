/**
 * Runs jobs one after the other. The kernel's HTAB calls take no lock against each other where they should
 * (kernel-abi.md 2.4), so everything that touches one descriptor, or one VM's table, goes through one queue.
 */
export class CallQueue {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(job: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(job);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
