import { silentJournal } from '../../migration/failure.js';
import type { Journal } from '../../migration/journal.js';
import { openJournal } from '../../migration/journal-file.js';
import { settled, within } from '../../node/waiting.js';
import { about } from '../about.js';
import type { MigrationCommandOptions } from '../commands/options.js';
import type { Reporter } from '../reporter.js';

/** What a command has opened: released when it ends, the last first, each whatever becomes of the others. */
export class Resources {
  readonly #releases: (() => Promise<unknown>)[] = [];

  /** Runs a job, and releases whatever it has added. */
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

  /** Serves metrics if they are asked for, and says where. */
  async serveMetrics({ metrics }: MigrationCommandOptions, reporter: Reporter): Promise<void> {
    if (metrics === undefined) return;
    const { serveMetrics } = await import('../metrics.js');
    const server = await about('--metrics', serveMetrics(metrics.host, metrics.port));
    this.add(() => server.close());
    reporter.say(`metrics at ${server.url}`, 'metrics', { url: server.url });
  }

  /** Opens the journal if there is to be one. */
  async openJournal(
    { journal: file, timeoutMs }: { readonly journal?: string; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<Journal | undefined> {
    if (file === undefined) return undefined;
    const opening = about('--journal', openJournal(file));
    const journal = await within(opening, timeoutMs, signal, () => silentJournal(timeoutMs));
    this.add(() => journal.close());
    return journal;
  }

  async #release(): Promise<void> {
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      // What ends the command matters more; and whatever could not be released, or not yet, goes with the process.
      await settled(release);
    }
  }
}
