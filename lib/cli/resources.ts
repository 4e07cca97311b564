import { journalTimeoutError } from '../migration/errors.js';
import type { Journal } from '../migration/journal/journal.js';
import { openJournal } from '../migration/journal/journal-file.js';
import { tryBriefly, within } from '../base/time.js';
import { forOption } from '../base/for-option.js';
import type { MetricsOptions } from './options/migration.js';
import type { EventReporter } from './report/event-reporter.js';
import type { Collector } from './report/metrics.js';

/** What a command has opened. It is released when the command ends, the last first, even if others fail. */
export class Resources {
  readonly #releases: (() => Promise<unknown>)[] = [];

  /** Runs a job, and releases what it has added. */
  static async use<T>(job: (resources: Resources) => Promise<T>): Promise<T> {
    const resources = new Resources();
    try {
      return await job(resources);
    } finally {
      await resources.#release();
    }
  }

  add(release: () => unknown): void {
    this.#releases.push(async () => await release());
  }

  /**
   * Serves metrics, and prints where, if --metrics is given.
   *
   * @param loadCollector gives what registers them; loaded only if they are served
   */
  async serveMetrics(
    { metrics }: MetricsOptions,
    reporter: EventReporter,
    loadCollector: () => Promise<Collector>,
  ): Promise<void> {
    if (metrics === undefined) return;
    const { serveMetrics } = await import('./report/metrics.js');
    const server = await forOption('metrics', serveMetrics(metrics, await loadCollector()));
    this.add(() => server.close());
    reporter.say(`metrics at ${server.url}`, 'metrics', { url: server.url });
  }

  /** Opens the journal, if one is given. */
  async openJournal(
    { journal: file, timeoutMs }: { readonly journal?: string; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<Journal | undefined> {
    if (file === undefined) return undefined;
    const opening = forOption('journal', openJournal(file));
    const journal = await within(opening, timeoutMs, signal, () => journalTimeoutError(timeoutMs));
    this.add(() => journal.close());
    return journal;
  }

  async #release(): Promise<void> {
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      // The command's own end matters more; what could not be released goes with the process.
      await tryBriefly(release);
    }
  }
}
