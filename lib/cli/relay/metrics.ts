import { Counter, Gauge, type Registry } from 'prom-client';
import type { RelayProgress } from '../../qemu/relay/relay-options.js';

const STATES: readonly RelayProgress['state'][] = ['copying', 'judged', 'handed-over'];

/** Metrics of one relayed migration. */
export class RelayMetrics {
  readonly #bytes: Counter;
  readonly #pages: Counter;
  readonly #entries: Gauge;
  readonly #state: Gauge<'state'>;
  readonly #stop: Gauge<'part'>;
  #before = { bytes: 0, pages: 0 };

  constructor(registry: Registry) {
    const registers = [registry];
    const named = <Name extends string>(name: string, help: string, ...labelNames: Name[]) => ({
      ...{ name: `kvm_htab_relay_${name}`, help, labelNames, registers },
    });
    this.#bytes = new Counter(named('bytes_total', 'Bytes of the stream that have gone on.'));
    this.#pages = new Counter(named('pages_total', 'Pages of memory that have gone on.'));
    this.#entries = new Gauge(named('valid_entries', 'Valid entries of the table so far.'));
    this.#state = new Gauge(named('state', '1 for the state that the migration is in.', 'state'));
    this.#stop = new Gauge(
      named('stop_seconds', 'Stop of the guest, as it was seen, and the part of its table.', 'part'),
    );
  }

  readonly update = ({ state, bytes, pages, validEntries, stop }: RelayProgress): void => {
    this.#bytes.inc(bytes - this.#before.bytes);
    this.#pages.inc(pages - this.#before.pages);
    this.#before = { bytes, pages };
    this.#entries.set(validEntries);
    for (const each of STATES) this.#state.set({ state: each }, each === state ? 1 : 0);
    if (stop === undefined) return;
    this.#stop.set({ part: 'all' }, stop.stopMs / 1000);
    this.#stop.set({ part: 'table' }, stop.tableMs / 1000);
  };
}
