import type { Journal } from '../../migration/journal.js';
import { openJournal } from '../../migration/journal-file.js';
import { about } from '../about.js';
import type { MigrationCommandOptions } from '../commands/options.js';
import type { Reporter } from '../reporter.js';

/** What a command has opened: released when it ends, the last first, each whatever becomes of the others. */
export class Resources {
  readonly #releases: (() => unknown)[] = [];

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
    this.#releases.push(release);
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
  async openJournal({ journal: file }: { readonly journal?: string }): Promise<Journal | undefined> {
    if (file === undefined) return undefined;
    const journal = await about('--journal', openJournal(file));
    this.add(() => journal.close());
    return journal;
  }

  async #release(): Promise<void> {
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      try {
        await release();
      } catch {
        // What ends the command matters more; and whatever could not be released goes with the process.
      }
    }
  }
}
