import { channel } from 'node:diagnostics_channel';
import type { Side } from './journal.js';
import type { PassReport } from './policy.js';
import type { DestinationState, SourceState } from './two-phase.js';

/** `kvm-htab:state`: one side of a migration has come to another state. */
export interface StateEvent {
  readonly side: Side;
  readonly migrationId: string;
  readonly state: SourceState | DestinationState;
}

/** `kvm-htab:pass`: the source has made a pass, and the destination has applied all of it. */
export interface PassEvent extends PassReport {
  readonly side: 'source';
  readonly migrationId: string;
}

/** `kvm-htab:outcome`: one side of a migration is done with it. */
export interface OutcomeEvent {
  readonly side: Side;
  readonly migrationId: string;
  /** `moved`: the guest is the destination's. `stayed`: it is the source's. */
  readonly outcome: 'moved' | 'stayed' | 'in-doubt';
  /** At the source of a migration that moved: how long the guest stood still, and what had been predicted. */
  readonly stopMs?: number;
  readonly predictedStopMs?: number | undefined;
  /** What ended it, unless it moved. */
  readonly error?: unknown;
}

const stateChannel = channel('kvm-htab:state');
const passChannel = channel('kvm-htab:pass');
const outcomeChannel = channel('kvm-htab:outcome');

// A channel without subscribers costs a look at a flag.

export function publishState(event: StateEvent): void {
  if (stateChannel.hasSubscribers) stateChannel.publish(event);
}

export function publishPass(event: PassEvent): void {
  if (passChannel.hasSubscribers) passChannel.publish(event);
}

export function publishOutcome(event: OutcomeEvent): void {
  if (outcomeChannel.hasSubscribers) outcomeChannel.publish(event);
}
