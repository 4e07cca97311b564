import { Counter, Gauge, type Registry } from 'prom-client';
import { channels, type OutcomeEvent, type PassEvent, type StateEvent } from '../../migration/events.js';
import { keepReport, type PassReport } from '../../precopy/pass-report.js';
import { predictStopMs } from '../../precopy/policy.js';

/**
 * Each with its labels. Those that only one side knows have the label of the side too: a gauge without labels shows 0 before
 * anything is known.
 */
const COUNTERS = {
  migrations_total: ['Migrations that have ended, by side and outcome.', 'side', 'outcome'],
  passes_total: ['Passes over the table that the destination has applied.', 'side', 'guest'],
  entries_total: ['Entries moved: valid ones, and the news that entries are invalid.', 'side', 'kind'],
  record_bytes_total: ['Bytes of records moved.', 'side'],
} as const;
const GAUGES = {
  migration_state: ['1 for the state that a side of the migration is in.', 'side', 'state'],
  changed_entries: ['Entries that the last pass found changed.', 'side'],
  bytes_per_second: ['Rate at which the last pass was moved and applied.', 'side'],
  predicted_stop_seconds: ['Predicted stop of the guest, if it were stopped now.', 'side'],
  stop_seconds: ['How long the guest was stopped when it was moved.', 'side'],
} as const;

type Labels = 'side' | 'outcome' | 'guest' | 'kind' | 'state';

/**
 * Registers the metrics of this process's migrations, and keeps them current by the `kvm-htab:*` diagnostics channels.
 *
 * @returns what ends it
 */
export function collectMetrics(registry: Registry): () => void {
  const metrics = new MigrationMetrics(registry);
  channels.state.subscribe(metrics.onState);
  channels.pass.subscribe(metrics.onPass);
  channels.outcome.subscribe(metrics.onOutcome);
  return () => {
    channels.state.unsubscribe(metrics.onState);
    channels.pass.unsubscribe(metrics.onPass);
    channels.outcome.unsubscribe(metrics.onOutcome);
  };
}

class MigrationMetrics {
  readonly #counters: Readonly<Record<keyof typeof COUNTERS, Counter<Labels>>>;
  readonly #gauges: Readonly<Record<keyof typeof GAUGES, Gauge<Labels>>>;
  /** Of the current connection. */
  #reports: PassReport[] = [];
  /** The state shown of each side. */
  readonly #shown = new Map<string, string>();

  constructor(registry: Registry) {
    this.#counters = each(COUNTERS, (settings) => new Counter({ ...settings, registers: [registry] }));
    this.#gauges = each(GAUGES, (settings) => new Gauge({ ...settings, registers: [registry] }));
  }

  readonly onState = ({ side, state }: StateEvent): void => {
    if (state === 'connecting') this.#reports = [];
    const gauge = this.#gauges.migration_state;
    const before = this.#shown.get(side);
    if (before !== undefined) gauge.remove({ side, state: before });
    gauge.set({ side, state }, 1);
    this.#shown.set(side, state);
  };

  readonly onPass = (pass: PassEvent): void => {
    const { side, validEntries, invalidEntries, bytes, durationMs } = pass;
    const { entries_total, record_bytes_total, passes_total } = this.#counters;
    entries_total.inc({ side, kind: 'valid' }, validEntries);
    entries_total.inc({ side, kind: 'invalid' }, invalidEntries);
    record_bytes_total.inc({ side }, bytes);
    if (durationMs > 0) this.#gauges.bytes_per_second.set({ side }, (bytes / durationMs) * 1000);
    if (pass.side === 'destination') {
      passes_total.inc({ side });
      return;
    }
    passes_total.inc({ side, guest: pass.live ? 'running' : 'stopped' });
    if (pass.changedEntries !== undefined) this.#gauges.changed_entries.set({ side }, pass.changedEntries);
    keepReport(this.#reports, pass);
    const stopMs = pass.live ? predictStopMs(this.#reports) : undefined;
    if (stopMs !== undefined) this.#gauges.predicted_stop_seconds.set({ side }, stopMs / 1000);
  };

  readonly onOutcome = ({ side, outcome, stopMs }: OutcomeEvent): void => {
    this.#counters.migrations_total.inc({ side, outcome });
    if (stopMs !== undefined) this.#gauges.stop_seconds.set({ side }, stopMs / 1000);
  };
}

interface Settings {
  readonly name: string;
  readonly help: string;
  readonly labelNames: Labels[];
}

/** The metrics of a table, by its names. */
function each<Name extends string, Metric>(
  table: Readonly<Record<Name, readonly [help: string, ...labels: Labels[]]>>,
  make: (settings: Settings) => Metric,
): Readonly<Record<Name, Metric>> {
  const metrics = Object.entries<readonly [string, ...Labels[]]>(table).map(
    ([name, [help, ...labelNames]]) => [name, make({ name: `kvm_htab_${name}`, help, labelNames })],
  );
  return Object.fromEntries(metrics) as Record<Name, Metric>;
}
