/** What a test is given while it runs. */
export interface TestContext {
  /** Aborts when the test's time is over. */
  readonly signal: AbortSignal;
  /** Ends the test as skipped: what it tests is not there on this machine or kernel. */
  skip(reason: string): never;
  /** Prints a line beside the results. */
  note(line: string): void;
}

export type TestBody = (context: TestContext) => Promise<void> | void;
export type Test = (name: string, body: TestBody, options?: { readonly timeoutMs?: number }) => void;

class Skip extends Error {}

/** Emulated POWER is some thirty times slower than the machine it runs on, and that machine may be busy. */
const DEFAULT_TIMEOUT_MS = 120_000;

interface RegisteredTest {
  readonly suite: string;
  readonly name: string;
  readonly body: TestBody;
  readonly timeoutMs: number;
}

/**
 * Runs tests one after the other in this process: a second start of Node takes five seconds here. Results are printed
 * as they come, one line each, in the form of the Test Anything Protocol, which the host counts.
 */
export class Runner {
  readonly #tests: RegisteredTest[] = [];
  readonly #pattern: RegExp;

  /** @param filter only tests whose name matches this regular expression are run */
  constructor(filter: string) {
    this.#pattern = new RegExp(filter, 'i');
  }

  /** A function that adds tests of one suite; the suite's name stands before each test's. */
  suite(suite: string): Test {
    return (name, body, { timeoutMs = DEFAULT_TIMEOUT_MS } = {}) => {
      const fullName = `${suite}: ${name}`;
      if (this.#pattern.test(fullName)) this.#tests.push({ suite, name: fullName, body, timeoutMs });
    };
  }

  /** @returns whether every test passed, and there was at least one */
  async run(): Promise<boolean> {
    let failed = 0;
    const suiteSeconds = new Map<string, number>();
    for (const [index, test] of this.#tests.entries()) {
      const begun = process.hrtime.bigint();
      const outcome = await attempt(test);
      const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
      suiteSeconds.set(test.suite, (suiteSeconds.get(test.suite) ?? 0) + seconds);
      const line = `${index + 1} - ${test.name}`;
      if (outcome instanceof Skip) print(`ok ${line} # SKIP ${outcome.message}`);
      else if (outcome === undefined) print(`ok ${line} (${seconds.toFixed(1)} s)`);
      else {
        failed++;
        print(`not ok ${line} (${seconds.toFixed(1)} s)`);
        for (const text of describe(outcome).split('\n')) print(`    ${text}`);
      }
    }
    print(`1..${this.#tests.length}`);
    const times = [...suiteSeconds].map(([suite, seconds]) => `${suite} ${seconds.toFixed(0)} s`);
    print(`# ${times.join(', ')}`);
    return failed === 0 && this.#tests.length > 0;
  }
}

/** @returns what the test threw; undefined if it passed */
async function attempt({ body, timeoutMs }: RegisteredTest): Promise<unknown> {
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    timeout.abort(new Error(`not finished after ${timeoutMs} ms`));
  }, timeoutMs);
  const context: TestContext = {
    signal: timeout.signal,
    skip(reason) {
      throw new Skip(reason);
    },
    note(line) {
      print(`# ${line}`);
    },
  };
  try {
    const expired = new Promise<never>((_resolve, reject) => {
      timeout.signal.addEventListener('abort', () => {
        reject(timeout.signal.reason as Error);
      });
    });
    await Promise.race([body(context), expired]);
    return undefined;
  } catch (error) {
    return error ?? new Error('threw nothing');
  } finally {
    clearTimeout(timer);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by ${describe(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
