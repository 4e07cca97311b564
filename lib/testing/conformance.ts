import { allocationCases } from './conformance/allocation.js';
import {
  ConformanceContext,
  checkCapabilities,
  type ConformanceBackend,
  type ConformanceCase,
} from './conformance/context.js';
import { guestCases } from './conformance/guest.js';
import { lifecycleCases } from './conformance/lifecycle.js';
import { readingCases } from './conformance/reading.js';
import { resizingCases } from './conformance/resizing.js';
import { trackingCases } from './conformance/tracking.js';
import { valueCases } from './conformance/values.js';
import { recordCases, writingCases } from './conformance/writing.js';

/**
 * The behaviour every backend must show, case by case. No test runner is needed: loop over the cases with the one at
 * hand, or call {@link runConformance}.
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

/** Runs one case, and closes what it opened. Rejects if the backend behaves otherwise. */
export async function runCase(conformanceCase: ConformanceCase, backend: ConformanceBackend): Promise<void> {
  await using context = new ConformanceContext(backend);
  await conformanceCase.run(context);
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
