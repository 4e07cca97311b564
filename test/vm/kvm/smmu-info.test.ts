import { endianness } from 'node:os';
import { expect, test } from 'vitest';
import { SMMU_INFO_BYTES, decodeSmmuInfo } from '../../../lib/vm/kvm/smmu-info.js';

test('the page sizes of a POWER8 or POWER9 host are decoded (1.4)', () => {
  const little = endianness() === 'LE';
  // At an odd offset of larger memory, as a Buffer may be.
  const bytes = new Uint8Array(SMMU_INFO_BYTES + 8).subarray(3, 3 + SMMU_INFO_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setBigUint64(0, 3n, little);
  view.setUint32(8, 32, little);
  view.setUint16(12, 31, little);
  view.setUint16(14, 30, little);
  const segments: [number, number, [number, number][]][] = [
    [
      12,
      0,
      [
        [12, 0],
        [24, 0x38],
      ],
    ],
    [
      16,
      0x110,
      [
        [16, 1],
        [24, 8],
      ],
    ],
    [24, 0x100, [[24, 0]]],
  ];
  for (const [segment, [shift, encoding, pages]] of segments.entries()) {
    const at = 16 + segment * 72;
    view.setUint32(at, shift, little);
    view.setUint32(at + 4, encoding, little);
    for (const [page, [pageShift, pageEncoding]] of pages.entries()) {
      view.setUint32(at + 8 + page * 8, pageShift, little);
      view.setUint32(at + 12 + page * 8, pageEncoding, little);
    }
  }
  expect(decodeSmmuInfo(bytes)).toEqual({
    pageSizesReal: true,
    has1TSegments: true,
    noHash: false,
    slbSize: 32,
    dataKeys: 31,
    instructionKeys: 30,
    segments: [
      {
        basePageShift: 12,
        slbEncoding: 0,
        pageSizes: [
          { pageShift: 12, encoding: 0 },
          { pageShift: 24, encoding: 0x38 },
        ],
      },
      {
        basePageShift: 16,
        slbEncoding: 0x110,
        pageSizes: [
          { pageShift: 16, encoding: 1 },
          { pageShift: 24, encoding: 8 },
        ],
      },
      { basePageShift: 24, slbEncoding: 0x100, pageSizes: [{ pageShift: 24, encoding: 0 }] },
    ],
  });
});
