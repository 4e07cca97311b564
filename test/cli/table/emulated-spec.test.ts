import { describe, expect, test } from 'vitest';
import { parseEmulatedSpec } from '../../../lib/cli/table/emulated-spec.js';

describe('the spec of an emulated VM', () => {
  test('is a list of keys and values', () => {
    expect(
      parseEmulatedSpec('host=power8,page-shift=12,order=36,seed=4294967295,steps=0,rate=7', 'source'),
    ).toEqual({
      host: 'power8',
      pageShift: 12,
      order: 36,
      file: undefined,
      seed: 4_294_967_295,
      steps: 0,
      rate: 7,
    });
    expect(parseEmulatedSpec('file=/a=b', 'source')).toMatchObject({ file: '/a=b', steps: 0 });
    expect(parseEmulatedSpec('', 'target')).toMatchObject({ host: 'power9', pageShift: 16 });
  });

  test.each([
    ['host=power7', 'host must be power8 or power9.'],
    ['page-shift=14', 'page-shift must be 12 or 16.'],
    ['order=17', 'order must be an integer in 18..36.'],
    ['order=2e1', 'order must be an integer in 18..36.'],
    ['seed=-1', 'seed must be an integer'],
    ['rate=', '"rate=" is not KEY=VALUE'],
    ['fast', '"fast" is not KEY=VALUE with a key of host, page-shift, order'],
    ['constructor=1', '"constructor=1" is not KEY=VALUE'],
    ['file=x,order=20', 'order and file exclude each other'],
    ['order=20,file=x', 'order and file exclude each other'],
  ])('%j is refused', (spec, message) => {
    expect(() => parseEmulatedSpec(spec, 'source')).toThrow(message);
  });

  test.each(['order=20', 'file=x', 'seed=1', 'rate=1'])('of a target has no %s', (spec) => {
    expect(() => parseEmulatedSpec(spec, 'target')).toThrow('with a key of host, page-shift.');
  });
});
