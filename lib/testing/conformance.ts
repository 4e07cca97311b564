import { allocationCases } from './conformance/allocation.js';
import {
  ConformanceContext,
  checkCapabilities,
  type Capability,
  type ConformanceBackend,
  type ConformanceCase,
} from './conformance/context.js';
import { dirtyLogCases } from './conformance/dirty-log.js';
import { guestCases } from './conformance/guest.js';
import { hypercallCases } from './conformance/hypercalls.js';
import { lifecycleCases } from './conformance/lifecycle.js';
import { readingCases } from './conformance/reading.js';
import { resizingCases } from './conformance/resizing.js';
import { trackingCases } from './conformance/tracking.js';
import { valueCases } from './conformance/values.js';
import { recordCases } from './conformance/whole-records.js';
import { writingCases } from './conformance/writing.js';

/**
 * The behaviour every backend must show, case by case. Loop over the cases with your test runner; without one, call
 * {@link runConformance}.
 *
 * @example
 * for (const conformanceCase of conformanceCases) {
 *   const reason = reasonToSkip(conformanceCase, backend);
 *   if (reason === undefined) test(titleOf(conformanceCase), () => runCase(conformanceCase, backend));
 *   else test.skip(`${titleOf(conformanceCase)}: ${reason}`);
 * }
 */
export const conformanceCases: readonly ConformanceCase[] = [
  ...readingCases,
  ...trackingCases,
  ...valueCases,
  ...writingCases,
  ...recordCases,
  ...allocationCases,
  ...resizingCases,
  ...guestCases,
  ...dirtyLogCases,
  ...hypercallCases,
  ...lifecycleCases,
];

/** The case's name with the section it comes from. */
export function titleOf({ name, section }: ConformanceCase): string {
  return `${name} (${section})`;
}

/**
 * Why the case cannot run on this backend; undefined if it can.
 *
 * @throws TypeError for a backend with a capability that does not exist
 */
export function reasonToSkip(
  { requires = [] }: ConformanceCase,
  backend: ConformanceBackend,
): string | undefined {
  checkCapabilities(backend);
  const missing = requires.filter((capability) => !backend.capabilities.includes(capability));
  return missing.length === 0 ? undefined : `${backend.name} has no ${missing.join(', ')}`;
}

/**
 * Runs one case, and closes what it opened. Rejects if the backend behaves otherwise; where that looks like a capability
 * that was declared wrongly, or was not declared, the message says so.
 */
export async function runCase(conformanceCase: ConformanceCase, backend: ConformanceBackend): Promise<void> {
  try {
    await attempt(conformanceCase, backend);
  } catch (error) {
    if (error instanceof Error) addHint(error, await hintFor(conformanceCase, backend));
    throw error;
  }
}

async function attempt(
  conformanceCase: ConformanceCase,
  backend: ConformanceBackend,
  capabilities?: readonly Capability[],
): Promise<void> {
  await using context = new ConformanceContext(backend, capabilities);
  await conformanceCase.run(context);
}

/** What a failure may have to do with the capabilities declared. */
async function hintFor(
  conformanceCase: ConformanceCase,
  backend: ConformanceBackend,
): Promise<string | undefined> {
  const { capabilities } = backend;
  // The one that almost every case depends on, and not only those that require it.
  const declared = capabilities.includes('lock-bit');
  const others = capabilities.filter((each) => each !== 'lock-bit');
  const passes = await attempt(conformanceCase, backend, declared ? others : [...others, 'lock-bit']).then(
    () => true,
    () => false,
  );
  if (passes && declared) {
    return "It passes without the capability 'lock-bit': this backend's entries do not carry v bit 0x40, so do not declare it.";
  }
  if (passes) {
    return "It passes with the capability 'lock-bit': this backend's entries carry v bit 0x40, so declare it.";
  }
  const { requires = [] } = conformanceCase;
  return requires.length > 0
    ? `This case runs because the backend declares ${requires.join(', ')}.`
    : undefined;
}

function addHint(error: Error, hint: string | undefined): void {
  if (hint === undefined) return;
  const { message, stack } = error;
  error.message = `${message}\n${hint}`;
  // What consoles and test runners show.
  if (stack !== undefined) error.stack = stack.replace(message, () => error.message);
}

/** How one case ended. */
export interface ConformanceResult {
  readonly title: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped. */
  readonly reason?: string;
  /** What it failed with. */
  readonly error?: unknown;
}

/**
 * Runs every case on a backend, one after the other; for places without a test runner.
 *
 * @param onResult called after each case
 * @returns the results in order; none failed if none has the outcome `failed`
 * @throws TypeError for a backend with a capability that does not exist
 *
 * @example
 * const results = await runConformance(emulatedBackend({ host: 'power8' }));
 */
export async function runConformance(
  backend: ConformanceBackend,
  onResult: (result: ConformanceResult) => void = () => undefined,
): Promise<readonly ConformanceResult[]> {
  const results: ConformanceResult[] = [];
  for (const conformanceCase of conformanceCases) {
    const result = await resultOf(conformanceCase, backend);
    results.push(result);
    onResult(result);
  }
  return results;
}

async function resultOf(
  conformanceCase: ConformanceCase,
  backend: ConformanceBackend,
): Promise<ConformanceResult> {
  const title = titleOf(conformanceCase);
  const reason = reasonToSkip(conformanceCase, backend);
  if (reason !== undefined) return { title, outcome: 'skipped', reason };
  try {
    await runCase(conformanceCase, backend);
    return { title, outcome: 'passed' };
  } catch (error) {
    return { title, outcome: 'failed', error };
  }
}
