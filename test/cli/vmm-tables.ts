import { vi } from 'vitest';
import type { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import * as handover from '../../lib/vm/kvm/handover.js';

/**
 * Gives tables of emulated VMs to those who ask a VMM for a descriptor. The test that calls this mocks
 * `lib/vm/kvm/handover.js`: there is no HTAB descriptor on its machine.
 */
export function giveTables(source: EmulatedVm, target: EmulatedVm): void {
  vi.mocked(handover.requestHtab).mockImplementation(async (_path, options) => {
    const [request, startIndex] = options!.request!.trimEnd().split(' ') as [string, string?];
    const handle = await {
      'open-read': () => source.openHtab({ startIndex: Number(startIndex ?? 0) }),
      'open-write': () => target.openHtab({ access: 'write' }),
      'open-read-next': () => target.openHtab(),
    }[request]!();
    return { handle, text: 'ok 18\n' } as unknown as handover.ReceivedHtab;
  });
}
