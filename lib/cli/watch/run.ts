import { sleep } from '../../base/time.js';
import { addChanges, contextChanges, type ContextChanges } from '../../inspect/context-changes.js';
import type { ChangeCounts } from '../../inspect/change-fold.js';
import { kernelPagesOf } from '../../inspect/kernel-pages.js';
import type { KernelPages } from '../../inspect/linux-regions.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { Interrupted } from '../interrupt.js';
import type { PassOptions } from '../options/passes.js';
import type { Output } from '../output.js';
import { eventLine } from '../report/event-reporter.js';
import { mapStyleOf } from '../report/map.js';
import { WatchedTable, type TablePass } from '../table/watched-table.js';
import { NOT_RECHECKED, type TableOptions } from '../table/place.js';
import { churnText, firstPassText, passText } from './text.js';

/** What `kvm-htab watch` takes. */
export interface WatchCommandOptions extends TableOptions, PassOptions {
  readonly json?: boolean;
}

/** What all passes after the first have changed. */
interface Churn extends ChangeCounts {
  readonly marksOnly: number;
  readonly contexts: ReadonlyMap<string, ContextChanges>;
}

/**
 * Shows how a table changes, pass by pass.
 *
 * @returns the exit code: 0; also for SIGINT, where no number of passes is given, and where the output's reader has gone
 */
export async function watch(
  options: WatchCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const live = await WatchedTable.open(options, signal);
  try {
    return await new Watch(live, options, output).run(signal);
  } finally {
    await live.close();
  }
}

class Watch {
  readonly #live: WatchedTable;
  readonly #options: WatchCommandOptions;
  readonly #output: Output;
  #kernelPages: KernelPages | undefined;
  #churn: Churn = { come: 0, gone: 0, changed: 0, marksOnly: 0, contexts: new Map() };
  #passes = 0;

  constructor(live: WatchedTable, options: WatchCommandOptions, output: Output) {
    this.#live = live;
    this.#options = options;
    this.#output = output;
  }

  async run(signal: AbortSignal): Promise<number> {
    const { passes = Infinity, intervalMs } = this.#options;
    // Each pass takes marks of change from other readers, so the passes end once nobody reads what they show.
    const over = AbortSignal.any([signal, endOf(this.#output.stdout)]);
    this.#showFirst(await this.#live.pass(signal));
    try {
      while (this.#passes < passes) {
        await sleep(intervalMs, over);
        this.#show(await this.#live.pass(over));
      }
    } catch (error) {
      if (!over.aborted) throw error;
    }
    this.#showChurn();
    // Without a number of passes, Ctrl-C is how to end it.
    if (isUserEnd(signal) && passes === Infinity) return EXIT_CODES.ok;
    signal.throwIfAborted();
    return EXIT_CODES.ok;
  }

  #showFirst({ pass, validEntries, durationMs }: TablePass): void {
    const { name, table } = this.#live;
    this.#passes = pass;
    this.#kernelPages = kernelPagesOf(table);
    const { order } = table;
    if (this.#options.json === true)
      this.#event('pass', { pass, source: name, order, validEntries, durationMs });
    else this.#output.stdout.write(firstPassText(name, table, durationMs));
  }

  #show({ pass, validEntries, durationMs, changes }: TablePass): void {
    this.#passes = pass;
    const { cells, segments, ...counts } = changes;
    const contexts = contextChanges(segments, this.#kernelPages);
    this.#add(counts, contexts);
    if (this.#options.json === true) {
      this.#event('pass', { pass, validEntries, durationMs, ...counts, contexts, cells: [...cells] });
    } else {
      const style = mapStyleOf(this.#output.stdout, process.env);
      this.#output.stdout.write(passText({ pass, validEntries, durationMs, changes }, contexts, style));
    }
  }

  #add(counts: ChangeCounts & { readonly marksOnly: number }, contexts: readonly ContextChanges[]): void {
    const all = new Map(this.#churn.contexts);
    for (const each of contexts) {
      const key = `${each.region} ${each.context}`;
      const before = all.get(key);
      all.set(key, before === undefined ? each : addChanges(before, each));
    }
    const marksOnly = this.#churn.marksOnly + counts.marksOnly;
    this.#churn = { ...addChanges(this.#churn, counts), marksOnly, contexts: all };
  }

  #showChurn(): void {
    const { contexts, ...counts } = this.#churn;
    const sourceRechecked = this.#live.isRechecked;
    const all = [...contexts.values()];
    if (this.#options.json === true) {
      this.#event('done', { passes: this.#passes, ...counts, contexts: all, sourceRechecked });
      return;
    }
    this.#output.stdout.write(
      `${churnText(this.#passes, counts, all)}${sourceRechecked ? '' : `\n${NOT_RECHECKED}`}`,
    );
  }

  #event(name: string, fields: Readonly<Record<string, unknown>>): void {
    this.#output.stdout.write(eventLine(name, fields));
  }
}

/** Aborted once an output can take no more, as a pipe whose reader has gone. */
function endOf(output: Output['stdout']): AbortSignal {
  const gone = new AbortController();
  const abort = (): void => {
    gone.abort();
  };
  output.once('error', abort).once('close', abort);
  return gone.signal;
}

function isUserEnd({ reason }: AbortSignal): boolean {
  return reason instanceof Interrupted && reason.signal === 'SIGINT';
}
