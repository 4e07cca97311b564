import { startVmm, type TestVmm, type VmmRequest } from '../test-vmm.js';

/** By the first word of a request: bytes, or what gives them. */
export type Answers = Readonly<Record<string, VmmAnswer>>;
type VmmAnswer = string | Buffer | undefined | ((request: VmmRequest) => Promise<string | undefined>);

/** A VMM that answers `ok`, unless something else is given; it does not know the first requests of a rest. */
export async function vmmWith(at: string, answers: Answers): Promise<TestVmm> {
  const defaults: Answers = { 'rest-ms': 'error no such request\n', 'can-accept': 'error no such request\n' };
  const all = { ...defaults, ...answers };
  return startVmm(at, (request) => {
    const [name] = request.line.split(' ', 1) as [string];
    const answer = name in all ? all[name] : 'ok\n';
    return typeof answer === 'function' ? answer(request) : answer;
  });
}

/** Answers only once nothing waits for the answer any more. */
export const hangs = async ({ ended }: VmmRequest): Promise<undefined> => {
  await ended;
};
