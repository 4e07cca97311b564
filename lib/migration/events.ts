import { channel } from 'node:diagnostics_channel';
import type { Side } from './journal.js';
import type { PassReport } from './policy.js';
import type { PassCounts } from '../io/pass-progress.js';
import type { DestinationState, SourceState } from './two-phase.js';

/** `kvm-htab:state`: one side of a migration has come to another state. */
export interface StateEvent {
  readonly side: Side;
  readonly migrationId: string;
  readonly state: SourceState | DestinationState;
}

/** `kvm-htab:pass`: a pass has been made, and the destination has applied all of it. */
export type PassEvent = SourcePassEvent | DestinationPassEvent;

export interface SourcePassEvent extends PassReport {
  readonly side: 'source';
  readonly migrationId: string;
}

/** The destination knows neither whether the guest ran meanwhile nor how long it is going to stand still. */
export interface DestinationPassEvent extends PassCounts {
  readonly side: 'destination';
  readonly migrationId: string;
  /** Number of the pass on this connection, from 1. */
  readonly pass: number;
  /** Time from the source's word that it begins until all of it had been applied. */
  readonly durationMs: number;
  /** Of that, time spent reading the table back. */
  readonly readBackMs: number;
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
