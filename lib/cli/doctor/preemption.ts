import { version } from 'node:os';
import type { ProbeResult } from '../../vm/kvm/probe.js';

/**
 * Whether a vcpu of a guest with a table can wait in this kernel for ever (kernel-abi.md 10.2): a radix host whose kernel can be
 * preempted.
 *
 * @param build what `uname -v` says
 */
export function mayHang(hostMmu: ProbeResult['hostMmu'], build: string = version()): boolean {
  return hostMmu === 'radix' && /\bPREEMPT/.test(build);
}
