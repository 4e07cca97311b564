// The agent of the documentation. agent-example.own-process.test.ts runs it.
import { answerOutcomes, connect, listen, openJournal, receiveHpt, sendHpt } from '../../lib/index.js';
import { requestSource, requestTarget, VmmSocket, type SecurityOptions } from '../../lib/index.js';

interface Guest {
  migrationId: string; // the same on both hosts
  vmm: string; // control socket of its VMM on this host
}

interface Host {
  journal: string; // /var/lib/agent/journal: one for all migrations of the host
  tls: SecurityOptions; // { cert: 'host.pem', key: 'host.key', ca: 'fleet.pem' }
}

/** Takes any number of guests over one listener, and answers sources that ask how their migration ended. */
export async function takeGuests(guests: Guest[], address: string, host: Host, signal: AbortSignal) {
  await using journal = await openJournal(host.journal);
  using listener = await listen(address, host.tls); // tls://0.0.0.0:7000
  await Promise.all([
    answerOutcomes(journal, listener, { signal }),
    ...guests.map(({ migrationId, vmm }) =>
      receiveHpt(() => requestTarget(vmm), listener, { migrationId, journal, signal }),
    ),
  ]);
}

/** Moves a guest to the agent at this address. */
export async function sendGuest({ migrationId, vmm }: Guest, address: string, host: Host) {
  await using journal = await openJournal(host.journal);
  using control = await VmmSocket.open(vmm);
  const { pause, resume } = control;
  const source = await requestSource(vmm);
  return await sendHpt(source, () => connect(address, host.tls), { migrationId, journal, pause, resume }); // tls://host-b:7000
}
