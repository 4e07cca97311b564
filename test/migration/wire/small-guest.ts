import type { SendReport } from '../../../lib/migration/source/send-report.js';
import { sendHpt } from '../../../lib/migration/source/send.js';
import { startGuest } from '../harness/test-guest.js';
import type { Network } from '../harness/network.js';

/** Sends a small guest of its own; `seed` makes its table different from the others'. */
export async function send(network: Network, seed: number, migrationId?: string): Promise<SendReport> {
  const guest = await startGuest(50, seed);
  return sendHpt(guest.vm, network.connect, guest.options({ migrationId }));
}
