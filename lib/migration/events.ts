import { channel } from 'node:diagnostics_channel';
import type { Side } from './journal/journal.js';
import type { PassCounts } from '../records/pass-counter.js';
import type { PassReport } from '../precopy/pass-report.js';
import type { DestinationState, SourceState } from './states.js';

/** One side of a migration has entered another state; see {@link channels}. */
export interface StateEvent {
  readonly side: Side;
  readonly migrationId: string;
  readonly state: SourceState | DestinationState;
}

/** A pass is complete, and the destination has applied all of it; see {@link channels}. */
export type PassEvent = SourcePassEvent | DestinationPassEvent;

export interface SourcePassEvent extends PassReport {
  readonly side: 'source';
  readonly migrationId: string;
}

/** As the destination sees it, which knows neither whether the guest ran during the pass nor how long it will be stopped. */
export interface DestinationPassEvent extends PassCounts {
  readonly side: 'destination';
  readonly migrationId: string;
  /** Number of the pass on this connection, from 1. */
  readonly pass: number;
  /** Time from the source's `pass-begin` until all of it was applied, in ms. */
  readonly durationMs: number;
  /** Part of it spent reading the table back, in ms. */
  readonly readBackMs: number;
}

/** One side of a migration has ended; see {@link channels}. */
export interface OutcomeEvent {
  readonly side: Side;
  readonly migrationId: string;
  /** `moved`: the guest is the destination's. `stayed`: it is the source's. */
  readonly outcome: 'moved' | 'stayed' | 'in-doubt';
  /** At the source of a guest that moved: how long it was stopped, and the prediction, in ms. */
  readonly stopMs?: number | undefined;
  readonly predictedStopMs?: number | undefined;
  /** Why the guest has not moved. */
  readonly error?: unknown;
}

/** A source has lost its connection and is about to try another one; see {@link channels}. */
export interface ReconnectingEvent {
  readonly migrationId: string;
  /** Number of the next connection: 2 is the first retry. While the source asks for an outcome, they count from 1. */
  readonly attempt: number;
  /** Most connections to try; undefined if only time limits them, as while the source asks for an outcome. */
  readonly maxAttempts: number | undefined;
  /** Time until the next connection, in ms. */
  readonly delayMs: number;
  /** Why the last connection ended. */
  readonly error: unknown;
}

/** A channel of `node:diagnostics_channel` that knows the type of its events. */
export interface EventChannel<Event> {
  readonly hasSubscribers: boolean;
  /** Calls `listener`, at once, for each event of this process's migrations. What it throws becomes an uncaught exception. */
  subscribe(listener: (event: Event) => void): void;
  /** Calls `listener` no more. */
  unsubscribe(listener: (event: Event) => void): void;
  /** Calls the listeners. Migrations do this; a test of a listener may. */
  publish(event: Event): void;
}

/**
 * What the migrations of this process tell, on both sides. Without subscribers an event costs next to nothing.
 *
 * @example
 * channels.state.subscribe(({ side, migrationId, state }) => {
 *   console.log(`${migrationId}: the ${side} is ${state}`);
 * });
 */
export const channels: {
  /** `kvm-htab:state`: one side of a migration has entered another state. */
  readonly state: EventChannel<StateEvent>;
  /** `kvm-htab:pass`: a pass is complete, and the destination has applied all of it. */
  readonly pass: EventChannel<PassEvent>;
  /** `kvm-htab:outcome`: one side of a migration has ended. */
  readonly outcome: EventChannel<OutcomeEvent>;
  /** `kvm-htab:reconnecting`: a source has lost its connection and is about to try another one. */
  readonly reconnecting: EventChannel<ReconnectingEvent>;
} = {
  state: channel('kvm-htab:state') as EventChannel<StateEvent>,
  pass: channel('kvm-htab:pass') as EventChannel<PassEvent>,
  outcome: channel('kvm-htab:outcome') as EventChannel<OutcomeEvent>,
  reconnecting: channel('kvm-htab:reconnecting') as EventChannel<ReconnectingEvent>,
};
