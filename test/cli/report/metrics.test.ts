import { channel } from 'node:diagnostics_channel';
import { describe, expect, onTestFinished, test } from 'vitest';
import { serveMetrics } from '../../../lib/cli/report/metrics.js';
import { collectMetrics } from '../../../lib/cli/report/migration-metrics.js';
import type { OutcomeEvent, PassEvent, StateEvent } from '../../../lib/migration/events.js';

const publish = {
  state: (event: Omit<StateEvent, 'migrationId'>) =>
    channel('kvm-htab:state').publish({ migrationId: 'm', ...event }),
  outcome: (event: Omit<OutcomeEvent, 'migrationId'>) =>
    channel('kvm-htab:outcome').publish({ migrationId: 'm', ...event }),
  pass: (event: Partial<PassEvent>) => {
    const nothing = { waitedMs: 0, durationMs: 0, readMs: 0, idleMs: 0, confirmMs: 0, live: true };
    channel('kvm-htab:pass').publish({ side: 'source', migrationId: 'm', ...nothing, ...event });
  },
};

async function start(): Promise<string> {
  const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, collectMetrics);
  onTestFinished(() => server.close());
  return server.url;
}

/** What is served, without what explains it. */
async function samples(url: string): Promise<string[]> {
  const response = await fetch(url);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

describe('metrics', () => {
  test('follow a migration from its first pass to its end', async () => {
    const url = await start();
    publish.state({ side: 'source', state: 'connecting' });
    publish.state({ side: 'source', state: 'copying' });
    publish.pass({ pass: 1, validEntries: 900, invalidEntries: 100, bytes: 15_000, durationMs: 500 });
    publish.pass({
      ...{ pass: 2, changedEntries: 30, validEntries: 20, invalidEntries: 10, bytes: 400 },
      ...{ durationMs: 200, readMs: 100, confirmMs: 50 },
    });
    const live = await samples(url);
    expect(live).toEqual(
      expect.arrayContaining([
        'kvm_htab_migration_state{side="source",state="copying"} 1',
        'kvm_htab_passes_total{side="source",guest="running"} 2',
        'kvm_htab_entries_total{side="source",kind="valid"} 920',
        'kvm_htab_entries_total{side="source",kind="invalid"} 110',
        'kvm_htab_record_bytes_total{side="source"} 15400',
        'kvm_htab_changed_entries{side="source"} 30',
        'kvm_htab_bytes_per_second{side="source"} 2000',
      ]),
    );
    expect(live.join('\n')).not.toContain('connecting');
    // Two scans of 100 ms and their confirmation at least.
    const predicted = live.find((line) => line.startsWith('kvm_htab_predicted_stop_seconds{side="source"} '));
    expect(Number(predicted?.split(' ')[1])).toBeGreaterThanOrEqual(0.3);

    publish.pass({ pass: 3, live: false, changedEntries: 0, validEntries: 0, invalidEntries: 0, bytes: 0 });
    publish.outcome({ side: 'source', outcome: 'moved', stopMs: 320 });
    publish.outcome({ side: 'destination', outcome: 'stayed' });
    expect(await samples(url)).toEqual(
      expect.arrayContaining([
        'kvm_htab_passes_total{side="source",guest="stopped"} 1',
        'kvm_htab_stop_seconds{side="source"} 0.32',
        'kvm_htab_migrations_total{side="source",outcome="moved"} 1',
        'kvm_htab_migrations_total{side="destination",outcome="stayed"} 1',
      ]),
    );
  });

  test('follow a migration at its destination, as far as that knows it', async () => {
    const url = await start();
    publish.state({ side: 'destination', state: 'copying' });
    channel('kvm-htab:pass').publish({
      ...{ side: 'destination', migrationId: 'm', pass: 1, durationMs: 500, readBackMs: 20 },
      ...{ validEntries: 900, invalidEntries: 100, bytes: 15_000 },
    });
    const seen = await samples(url);
    expect(seen).toEqual(
      expect.arrayContaining([
        'kvm_htab_migration_state{side="destination",state="copying"} 1',
        'kvm_htab_passes_total{side="destination"} 1',
        'kvm_htab_entries_total{side="destination",kind="valid"} 900',
        'kvm_htab_entries_total{side="destination",kind="invalid"} 100',
        'kvm_htab_record_bytes_total{side="destination"} 15000',
        'kvm_htab_bytes_per_second{side="destination"} 30000',
      ]),
    );
    // What is not known is left out; 0 would be wrong.
    expect(seen.join('\n')).not.toMatch(/changed_entries|stop_seconds/);
  });

  test('are to be had at /metrics, for reading, and nothing else is', async () => {
    const url = await start();
    expect((await fetch(new URL('/', url))).status).toBe(404);
    expect((await fetch(url, { method: 'POST' })).status).toBe(405);
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  });

  test('are no longer collected once they are closed', async () => {
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, collectMetrics);
    expect(channel('kvm-htab:pass').hasSubscribers).toBe(true);
    await server.close();
    expect(channel('kvm-htab:pass').hasSubscribers).toBe(false);
  });
});
