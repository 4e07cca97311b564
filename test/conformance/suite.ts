import { describe, expect, test } from 'vitest';
import type { ConformanceBackend } from '../../lib/testing/conformance/context.js';
import { conformanceCases, reasonToSkip, runCase, titleOf } from '../../lib/testing/conformance.js';

/** The conformance suite under vitest; a case whose capability is missing is reported as skipped, with the reason. */
export function describeConformance(backend: ConformanceBackend): void {
  describe(`${backend.name} conforms`, () => {
    for (const conformanceCase of conformanceCases) {
      test(titleOf(conformanceCase), async (context) => {
        const reason = reasonToSkip(conformanceCase, backend);
        context.skip(reason !== undefined, reason);
        await runCase(conformanceCase, backend);
      });
    }
    test('every case has a title of its own', () => {
      expect(new Set(conformanceCases.map(titleOf)).size).toBe(conformanceCases.length);
    });
  });
}
