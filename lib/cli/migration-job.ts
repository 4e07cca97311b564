import type { Side } from '../migration/journal/journal.js';
import type { Address } from '../transport/address.js';
import type { MigrationCommandOptions } from './options/migration.js';
import type { Output } from './output.js';
import { Reporter } from './report/reporter.js';
import { Resources } from './resources.js';

/** What one side of a migration was asked to do. */
interface Asked<Options> {
  readonly address: Address;
  readonly options: Options;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** One side of a migration as a command runs it. */
export interface MigrationJob<Options> extends Asked<Options> {
  readonly reporter: Reporter;
  readonly resources: Resources;
}

/** Serves the metrics of this process's migrations, if they are asked for. */
export function serveMigrationMetrics<Options extends MigrationCommandOptions>({
  options,
  reporter,
  resources,
}: MigrationJob<Options>): Promise<void> {
  return resources.serveMetrics(options, reporter, async () => {
    const { collectMetrics } = await import('./report/migration-metrics.js');
    return collectMetrics;
  });
}

/** Runs one side of a migration, and releases what it has opened. */
export function runMigration<Options extends MigrationCommandOptions, T>(
  side: Side,
  asked: Asked<Options>,
  run: (job: MigrationJob<Options>) => Promise<T>,
): Promise<T> {
  return Resources.use((resources) => {
    const reporter = new Reporter(side, asked.output, asked.options);
    resources.add(() => {
      reporter.close();
    });
    return run({ ...asked, reporter, resources });
  });
}
