import { version } from 'node:os';
import type { HostModel } from '../../vm/host.js';

/**
 * Whether a vcpu of a guest with a table can wait in this kernel for ever (kernel-abi.md 10.2): one that can be preempted, on
 * any processor but POWER8.
 *
 * @param build what `uname -v` says
 */
export function mayHang(processor: HostModel, build: string = version()): boolean {
  return processor !== 'power8' && /\bPREEMPT/.test(build);
}
