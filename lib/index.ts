// What a table is.
export { decodeHpte, encodeHpte, type Hpte, type PageShift, type SegmentSize } from './hpt/hpte.js';
export {
  encodeAvpn,
  hashPage,
  primaryGroup,
  secondaryGroup,
  virtualPageOf,
  type VirtualPage,
} from './hpt/hash.js';
export { HPTE_BYTES, HPTES_PER_GROUP, MAX_ORDER, MAX_STREAM_ORDER, MIN_ORDER } from './hpt/geometry.js';
export { entryCount, ptegCount, tableBytes } from './hpt/geometry.js';
export { HptTable } from './hpt/table.js';
export type { SparseBitmap } from './hpt/bitmap.js';
export type { RecordCounts } from './hpt/record-source.js';
export { compareTables, type TableDifference } from './hpt/compare.js';
export { digestTable } from './hpt/digest.js';

// How it is written.
export { RecordCursor, type RecordCursorOptions } from './format/cursor.js';
export { RecordEncoder, type RecordEncoderOptions, type RecordSink } from './format/encoder.js';
export { decodeRecords, type HtabRecord } from './format/records.js';
export { foldRecords, type FoldCounts } from './format/fold.js';
export type { HeaderByteOrder, RecordHeader } from './format/header.js';

// Where it lives.
export type { BackendName, HtabHandle, HtabVm, OpenHtabOptions } from './vm/contract.js';
export { EmulatedVm, type AccessResult, type EmulatedVmOptions } from './vm/emulated/emulated-vm.js';
export {
  H_ANDCOND,
  H_AVPN,
  H_BULK_REMOVE,
  H_CLEAR_MOD,
  H_CLEAR_REF,
  H_ENTER,
  H_EXACT_HIGH,
  H_PROTECT,
  H_READ,
  H_READ_4_HIGH,
  H_REMOVE,
  type Hypercalls,
} from './vm/emulated/hcalls.js';
export type { CallResult } from './vm/base.js';
export type { HtabFile } from './vm/emulated/htab-file.js';
export type { MemoryRegion } from './vm/emulated/memory.js';
export type { HostModel } from './vm/host.js';
export type { MmuMode } from './vm/ioctls.js';
export { ImageVm } from './vm/image/image-vm.js';
export { KvmVm, type FromFdOptions, type KvmVmOptions } from './vm/kvm/kvm-vm.js';
export type { KvmHandle } from './vm/kvm/kvm-handle.js';
export { adoptHtab, receiveHtab, requestHtab, takeHtab } from './vm/kvm/handover.js';
export type {
  AdoptOptions,
  ForeignDescriptor,
  ReceivedHtab,
  ReceiveOptions as ReceiveHtabOptions,
} from './vm/kvm/handover.js';
export type { PassingOptions } from './vm/kvm/passing.js';
export { capabilityNumbers, probe, type CapabilityName, type ProbeResult } from './vm/kvm/probe.js';
export type { ActualPageSize, SegmentPageSize, SmmuInfo } from './vm/kvm/smmu-info.js';
export { openVm, type OpenVmOptions } from './vm/open.js';

// How it flows.
export { HptReader, type HptReaderOptions, type OpenReaderOptions } from './io/reader.js';
export { readTable, type ReadTableOptions } from './io/read-table.js';
export { createReadStream, type ReadStreamOptions } from './io/read-stream.js';
export { createWriteStream, type HtabWriteStream, type WriteStreamOptions } from './io/write-stream.js';
export { resizeHpt } from './io/resize.js';
export type { GuestCallbacks } from './io/guest-control.js';
export type { PassCounts, PassProgress } from './io/pass-progress.js';

// How it is kept.
export { saveSnapshot, type SaveOptions, type SaveReport } from './snapshot/save.js';
export { loadSnapshot, type LoadOptions, type LoadProgress } from './snapshot/load.js';
export { readSnapshot } from './snapshot/read.js';
export type { Snapshot } from './snapshot/decoder.js';
export type { SnapshotEnd, SnapshotHeader, SnapshotInfo } from './snapshot/layout.js';

// How it moves.
export { sendHpt, type SendOptions, type SendReport } from './migration/source.js';
export {
  receiveHpt,
  type ReceiveOptions,
  type ReceiveProgress,
  type ReceiveReport,
} from './migration/destination.js';
export { openJournal } from './migration/journal-file.js';
export {
  MemoryJournal,
  type Decision,
  type Journal,
  type JournalEntry,
  type JournalRecord,
  type Side,
} from './migration/journal.js';
export { answerOutcomes, askOutcome, type OutcomeOptions } from './migration/outcome.js';
export type { Channel } from './migration/dialer.js';
export type { AskedOutcome } from './migration/protocol.js';
export type { SourceTable, TargetTable } from './migration/endpoints.js';
export type {
  DestinationPassEvent,
  OutcomeEvent,
  PassEvent,
  SourcePassEvent,
  StateEvent,
} from './migration/events.js';
export type { DestinationState, SourceState } from './migration/two-phase.js';
export type { NotConverging, PassReport, PrecopyLimits } from './migration/policy.js';
export type { MigrationOptions } from './migration/options.js';

// What can go wrong.
export {
  HtabError,
  HtabFormatError,
  HtabStateError,
  HtabSystemError,
  HtabUnavailableError,
  isHtabError,
  type HtabErrorCode,
  type HtabState,
  type FormatErrorDetails,
  type RecordPlace,
  type StateErrorDetails,
  type SystemErrorDetails,
  type UnavailableReason,
} from './errors.js';
