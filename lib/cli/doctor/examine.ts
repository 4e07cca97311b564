import { conformanceCases, reasonToSkip, runCase, titleOf } from '../../testing/conformance.js';
import type { ConformanceBackend, ConformanceCase } from '../../testing/conformance/context.js';
import { TRAPS, type Trap } from './traps.js';

/** How a kernel stands to one trap: it behaves `as known`, otherwise (`differs`), or was not asked (`untried`). */
export interface TrapFinding extends Omit<Trap, 'untried'> {
  readonly verdict: 'as known' | 'differs' | 'untried';
  readonly reason?: string;
}

/** What a kernel did otherwise than every kernel known. */
export interface Difference {
  /** What was expected, with the section of kernel-abi.md. */
  readonly expected: string;
  readonly found: string;
}

export interface Examination {
  readonly passed: number;
  readonly untried: number;
  readonly differences: readonly Difference[];
  readonly traps: readonly TrapFinding[];
}

interface Outcome {
  readonly verdict: 'passed' | 'failed' | 'untried';
  /** Why it was not tried. */
  readonly reason?: string;
}

/**
 * Asks a kernel for all that every backend must do, except what would make it write a warning to its log.
 *
 * @param onCase called before each case: how many are done, of how many
 * @throws the signal's reason, between two cases
 */
export async function examine(
  backend: ConformanceBackend,
  signal: AbortSignal,
  onCase: (done: number, of: number) => void,
): Promise<Examination> {
  const outcomes = new Map<ConformanceCase, Outcome>();
  const differences: Difference[] = [];
  for (const each of conformanceCases) {
    signal.throwIfAborted();
    onCase(outcomes.size, conformanceCases.length);
    const reason = reasonToSkip(each, backend);
    if (reason !== undefined || warns(each)) {
      outcomes.set(each, { verdict: 'untried', ...(reason === undefined ? {} : { reason }) });
      continue;
    }
    try {
      await runCase(each, backend);
      outcomes.set(each, { verdict: 'passed' });
    } catch (error) {
      outcomes.set(each, { verdict: 'failed' });
      differences.push({ expected: titleOf(each), found: (error as Error).message });
    }
  }
  const count = (wanted: Outcome['verdict']): number =>
    [...outcomes.values()].filter(({ verdict }) => verdict === wanted).length;
  return {
    passed: count('passed'),
    untried: count('untried'),
    differences,
    traps: TRAPS.map((trap) => findingOf(trap, outcomes)),
  };
}

const cites = ({ section }: ConformanceCase, trap: number): boolean =>
  section.split(', ').includes(`0 #${trap}`);

/** The kernel writes a warning to its log at trap 10. */
function warns(each: ConformanceCase): boolean {
  return cites(each, 10);
}

function findingOf({ untried, ...trap }: Trap, outcomes: ReadonlyMap<ConformanceCase, Outcome>): TrapFinding {
  // Where a backend refuses such writes, the kernel's way is not seen.
  const seen = [...outcomes].filter(
    ([each]) => cites(each, trap.trap) && each.requires?.includes('bounded-write') !== true,
  );
  const verdicts = seen.map(([, { verdict }]) => verdict);
  if (verdicts.includes('failed')) return { ...trap, verdict: 'differs' };
  if (untried !== undefined) return { ...trap, verdict: 'untried', reason: untried };
  if (verdicts.includes('passed')) return { ...trap, verdict: 'as known' };
  return { ...trap, verdict: 'untried', reason: seen.map(([, { reason }]) => reason).find(Boolean) ?? '' };
}
