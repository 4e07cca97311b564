import { expect, test } from 'vitest';
import * as api from '../../lib/index.js';
import { vm, guest, stream, descriptor } from './right-arguments.js';
import { type Call, mistakes } from './mistakes.js';

/** What it throws at once, or rejects with. */
async function attempt(call: Call, value: unknown): Promise<unknown> {
  return await call(value as never);
}

const rows = Object.entries(mistakes).flatMap(([name, byArgument]) =>
  Object.entries(byArgument).map(([argument, [values, call]]) => ({
    name,
    argument: argument.trim(),
    values,
    call,
  })),
);

test.each(rows)('$name refuses a wrong $argument by its name', async ({ argument, values, call }) => {
  for (const value of values) {
    await expect(attempt(call, value), `for ${JSON.stringify(value)}`).rejects.toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringMatching(`"${argument}" argument must be `) as unknown,
    });
  }
});

/** What takes numbers and nothing else, has no arguments, or takes anything. */
const WITHOUT = new Set([
  ...['primaryGroup', 'secondaryGroup', 'entryCount', 'ptegCount', 'tableBytes', 'isHtabError'],
  ...['HptTable', 'MemoryJournal', 'capabilityNumbers', 'adviseOrder'],
]);

test.each([-1, 1.5, 2 ** 31, NaN])('a VM of type %s cannot be made', async (type) => {
  await expect(api.KvmVm.create({ type })).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
});

const withOptions = rows.filter(({ argument }) => argument === 'options');

test.each(withOptions)('$name refuses a name that is no option of it', async ({ call }) => {
  await expect(attempt(call, { misspelt: 5 })).rejects.toMatchObject({
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_VALUE',
    message: expect.stringContaining('There is no option "misspelt"; the options are ') as unknown,
  });
});

test('a misplaced pause is no option of saveSnapshot', async () => {
  await expect(api.saveSnapshot(vm, '/nowhere/x', guest as api.SaveOptions)).rejects.toThrow(
    'no option "pause"',
  );
});

test('every public function is among them', () => {
  const tried = new Set(Object.keys(mistakes).map((name) => name.replace(/^new /, '').split('.')[0]!));
  const functions = Object.entries(api)
    .filter(([name, value]) => typeof value === 'function' && !/^Htab.*Error$/.test(name))
    .map(([name]) => name);
  expect(functions.filter((name) => !tried.has(name) && !WITHOUT.has(name))).toEqual([]);
});

test('a descriptor is closed whatever else is wrong', async () => {
  const calls: ((given: api.HtabHandle) => Promise<unknown>)[] = [
    (given) => api.sendHpt({ handle: given, order: 18 }, undefined as never, guest),
    (given) => api.sendHpt({ handle: given, order: 18 }, stream(), undefined as never),
    (given) => api.saveSnapshot(given, 5 as never),
    (given) => api.saveSnapshot(given, '/nowhere', null as never),
    (given) => api.readTable(given, null as never),
    (given) => api.loadSnapshot('/nowhere', vm, { readBack: given, signal: 5 as never }),
  ];
  for (const call of calls) {
    const given = await descriptor('read');
    await expect(call(given)).rejects.toThrow(TypeError);
    await expect(given.read(new Uint8Array(64))).rejects.toMatchObject({ state: 'closed' });
  }
  const target = await descriptor('write');
  await expect(api.receiveHpt({ handle: target, order: 18 }, null as never)).rejects.toThrow(TypeError);
  await expect(target.write(new Uint8Array(8))).rejects.toMatchObject({ state: 'closed' });
});
