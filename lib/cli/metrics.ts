import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { OutcomeEvent, PassEvent, StateEvent } from '../migration/events.js';
import { predictStopMs, type PassReport } from '../migration/policy.js';
import { systemCall } from '../node/system-call.js';
import { formatHostAndPort } from './transport/address.js';
import { LISTEN_HINTS } from './transport/listen.js';

/** Metrics being served; they end with the process. */
export interface MetricsServer {
  /** Where they are to be had. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves what this process's migrations do as Prometheus text, at `/metrics`. The numbers are those of the
 * `kvm-htab:*` diagnostics channels.
 *
 * @throws HtabSystemError if the kernel refuses the address; Error of node:dns
 */
export async function serveMetrics(host: string, port: number): Promise<MetricsServer> {
  const { Registry } = await import('prom-client');
  const registry = new Registry();
  const stop = await collect(registry);
  const server = createServer((request, response) => {
    answer(registry, request, response).catch(() => response.destroy());
  });
  // One that could not be accepted must not end a process whose guest stands still.
  server.on('error', () => undefined);
  try {
    const listening = once(server, 'listening');
    server.listen(port, host);
    await systemCall(`listen at ${formatHostAndPort(host, port)}`, listening, LISTEN_HINTS);
  } catch (error) {
    stop();
    throw error;
  }
  const bound = server.address() as AddressInfo;
  return {
    url: `http://${formatHostAndPort(bound.address, bound.port)}/metrics`,
    close: async () => {
      stop();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(registry: Registry, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.url?.split('?')[0] !== '/metrics') {
    response.writeHead(404).end();
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
  } else {
    response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
  }
}

/** @returns what ends it */
async function collect(registry: Registry): Promise<() => void> {
  const { Counter, Gauge } = await import('prom-client');
  const registers = [registry];
  const metric = (name: string, help: string): { name: string; help: string; registers: Registry[] } => ({
    name: `kvm_htab_${name}`,
    help,
    registers,
  });

  const migrations = new Counter({
    ...metric('migrations_total', 'Migrations that have ended, by side and outcome.'),
    labelNames: ['side', 'outcome'] as const,
  });
  const state = new Gauge({
    ...metric('migration_state', '1 for the state that a side of the migration is in.'),
    labelNames: ['side', 'state'] as const,
  });
  const passes = new Counter({
    ...metric('passes_total', 'Passes over the table that the destination has applied.'),
    labelNames: ['side', 'guest'] as const,
  });
  const entries = new Counter({
    ...metric('entries_total', 'Entries moved: valid ones, and the news that entries are invalid.'),
    labelNames: ['side', 'kind'] as const,
  });
  const bytes = new Counter({
    ...metric('record_bytes_total', 'Bytes of records moved.'),
    labelNames: ['side'] as const,
  });
  // With a label also where only one side knows it: a gauge without shows 0 before anything is known.
  const changed = new Gauge({
    ...metric('changed_entries', 'Entries that the last pass found changed.'),
    labelNames: ['side'] as const,
  });
  const rate = new Gauge({
    ...metric('bytes_per_second', 'Rate at which the last pass was moved and applied.'),
    labelNames: ['side'] as const,
  });
  const predicted = new Gauge({
    ...metric('predicted_stop_seconds', 'How long the guest would stand still if it were stopped now.'),
    labelNames: ['side'] as const,
  });
  const stopped = new Gauge({
    ...metric('stop_seconds', 'How long the guest stood still when it was moved.'),
    labelNames: ['side'] as const,
  });

  /** Over the connection at hand. */
  let reports: PassReport[] = [];
  const shown = new Map<string, string>();

  const onState = (event: StateEvent): void => {
    if (event.state === 'connecting') reports = [];
    const before = shown.get(event.side);
    if (before !== undefined) state.remove({ side: event.side, state: before });
    state.set({ side: event.side, state: event.state }, 1);
    shown.set(event.side, event.state);
  };
  const onPass = (pass: PassEvent): void => {
    const { side } = pass;
    entries.inc({ side, kind: 'valid' }, pass.validEntries);
    entries.inc({ side, kind: 'invalid' }, pass.invalidEntries);
    bytes.inc({ side }, pass.bytes);
    if (pass.durationMs > 0) rate.set({ side }, (pass.bytes / pass.durationMs) * 1000);
    if (pass.side === 'destination') {
      passes.inc({ side });
      return;
    }
    passes.inc({ side, guest: pass.live ? 'running' : 'stopped' });
    if (pass.changedEntries !== undefined) changed.set({ side }, pass.changedEntries);
    reports.push(pass);
    const stopMs = pass.live ? predictStopMs(reports) : undefined;
    if (stopMs !== undefined) predicted.set({ side }, stopMs / 1000);
  };
  const onOutcome = ({ side, outcome, stopMs }: OutcomeEvent): void => {
    migrations.inc({ side, outcome });
    if (stopMs !== undefined) stopped.set({ side }, stopMs / 1000);
  };

  const subscriptions = [
    ['kvm-htab:state', onState],
    ['kvm-htab:pass', onPass],
    ['kvm-htab:outcome', onOutcome],
  ] as [string, (message: unknown) => void][];
  for (const [name, listener] of subscriptions) subscribe(name, listener);
  return () => {
    for (const [name, listener] of subscriptions) unsubscribe(name, listener);
  };
}
