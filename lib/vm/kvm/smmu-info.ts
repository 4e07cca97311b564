import { endianness } from 'node:os';

/** Size of struct kvm_ppc_smmu_info (kernel-abi.md 1.2). */
export const SMMU_INFO_BYTES = 592;

const SEGMENTS_OFFSET = 16;
const SEGMENT_BYTES = 72;
const SLOTS = 8;

/** A page size that a guest may use within a segment of some base page size. */
export interface ActualPageSize {
  /** log2 of the bytes. */
  readonly pageShift: number;
  /** The code an HPTE carries for it. */
  readonly encoding: number;
}

/** A base page size, and the sizes its pages may really have. */
export interface SegmentPageSize {
  /** log2 of the bytes. */
  readonly basePageShift: number;
  /** The code an SLB entry carries for it. */
  readonly slbEncoding: number;
  readonly pageSizes: readonly ActualPageSize[];
}

/** What `KVM_PPC_GET_SMMU_INFO` says of the MMU a guest gets. */
export interface SmmuInfo {
  /** A page may not be larger than the host page behind it. */
  readonly pageSizesReal: boolean;
  readonly has1TSegments: boolean;
  /** The host is itself a guest: no hash guests. */
  readonly noHash: boolean;
  readonly slbSize: number;
  readonly dataKeys: number;
  readonly instructionKeys: number;
  readonly segments: readonly SegmentPageSize[];
}

/** @param bytes as the kernel of this machine fills them, in its byte order */
export function decodeSmmuInfo(bytes: Uint8Array): SmmuInfo {
  const view = new DataView(bytes.buffer, bytes.byteOffset, SMMU_INFO_BYTES);
  const little = endianness() === 'LE';
  const flags = view.getBigUint64(0, little);
  const pairs = (
    offset: number,
    stride: number,
  ): { readonly shift: number; readonly encoding: number; at: number }[] =>
    Array.from({ length: SLOTS }, (_, slot) => offset + slot * stride)
      .map((at) => ({ shift: view.getUint32(at, little), encoding: view.getUint32(at + 4, little), at }))
      .filter(({ shift }) => shift !== 0);
  return {
    pageSizesReal: (flags & 1n) !== 0n,
    has1TSegments: (flags & 2n) !== 0n,
    noHash: (flags & 4n) !== 0n,
    slbSize: view.getUint32(8, little),
    dataKeys: view.getUint16(12, little),
    instructionKeys: view.getUint16(14, little),
    segments: pairs(SEGMENTS_OFFSET, SEGMENT_BYTES).map(({ shift, encoding, at }) => ({
      basePageShift: shift,
      slbEncoding: encoding,
      pageSizes: pairs(at + 8, 8).map((page) => ({ pageShift: page.shift, encoding: page.encoding })),
    })),
  };
}
