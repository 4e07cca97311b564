// What a table is.
export { decodeHpte, encodeHpte, type Hpte, type SegmentSize } from './hpt/hpte.js';
export type { PageShift } from './hpt/page-size.js';
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
export type { ChangedPart, EntryChange, EntryValue } from './hpt/entry-changes.js';
export { digestTable } from './hpt/digest.js';

// How it is written.
export { RecordCursor, type RecordCursorOptions } from './records/cursor.js';
export { RecordEncoder, type RecordEncoderOptions, type RecordSink } from './records/encoder.js';
export { decodeRecords, type HtabRecord } from './records/decode-records.js';
export { foldRecords, type FoldCounts } from './records/fold-records.js';
export type { PassCounts } from './records/pass-counter.js';
export type { HeaderByteOrder, RecordHeader } from './records/header.js';

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
export type { CallResult } from './vm/call-result.js';
export type { HtabFile } from './vm/emulated/htab-file.js';
export type { MemoryRegion } from './vm/emulated/memory.js';
export type { HostModel } from './vm/host.js';
export type { MmuMode } from './vm/ioctls.js';
export { ImageVm } from './vm/image/image-vm.js';
export { KvmVm, type FromFdOptions, type KvmVmOptions } from './vm/kvm/kvm-vm.js';
export type { KvmHandle } from './vm/kvm/kvm-handle.js';
export { adoptHtab, receiveHtab, requestHtab, takeHtab } from './vm/kvm/handover.js';
export type { AdoptOptions, ForeignDescriptor, ReceivedHtab, ReceiveHtabOptions } from './vm/kvm/handover.js';
export { attachHtab, type AttachedHtab } from './vm/kvm/attach.js';
export type { AttachOptions } from './vm/kvm/attach-options.js';
export type { PassingOptions } from './vm/kvm/passing.js';
export { VmmSocket, type VmmSocketOptions } from './vm/kvm/vmm-socket.js';
export { requestSource, requestTarget, type VmmSource, type VmmTarget } from './vm/kvm/vmm-tables.js';
export { capabilityNumbers, probe, type CapabilityName, type ProbeResult } from './vm/kvm/probe.js';
export type { ActualPageSize, SegmentPageSize, SmmuInfo } from './vm/kvm/smmu-info.js';
export { openVm, type OpenVmOptions } from './vm/open.js';

// How it flows.
export { HptReader, type HptReaderOptions, type OpenReaderOptions } from './io/reader.js';
export { readTable, type ReadTableOptions } from './io/read-table.js';
export { createReadStream, type ReadStreamOptions } from './io/read-stream.js';
export { createWriteStream, type HtabWriteStream, type WriteStreamOptions } from './io/write-stream.js';
export { resizeHpt, type ResizeOptions } from './io/resize.js';
export type { OpenFresh } from './io/fresh-look.js';
export { guardedHandle } from './io/guarded-handle.js';
export type { GuestCallbacks } from './precopy/guest-options.js';
export type { PassProgress } from './precopy/pass-progress.js';

// How two hosts meet.
export { connect, listen, type ConnectOptions, type ListenOptions } from './transport/transport.js';
export type { OnRefused } from './transport/arrivals.js';
export type { Listener } from './transport/listen.js';
export type { SecurityOptions } from './transport/security.js';

// How it is kept.
export { saveSnapshot, type SaveOptions, type SaveReport } from './snapshot/save.js';
export { loadSnapshot, type LoadOptions, type LoadProgress } from './snapshot/load.js';
export { readSnapshot, type ReadSnapshotOptions, type ReadSnapshotProgress } from './snapshot/read.js';
export type { Snapshot } from './snapshot/decoder.js';
export type { SnapshotEnd, SnapshotHeader, SnapshotInfo } from './snapshot/layout.js';

// What QEMU writes.
export { readTableFile, type TableFileOptions } from './qemu/guest-file.js';
export {
  readQemuStream,
  type QemuStream,
  type QemuStreamOptions,
  type QemuStreamProgress,
} from './qemu/stream/read-qemu-stream.js';
export type { QemuFinding, QemuFindingKind } from './qemu/stream/findings.js';
export type { HtabCounts } from './qemu/stream/htab-section.js';
export type { QemuRam, QemuSection } from './qemu/stream/layout.js';
export type { LibvirtCompression, LibvirtSave } from './qemu/stream/libvirt-header.js';
export { relayMigration } from './qemu/relay/relay.js';
export type { RelayOptions, RelayProgress } from './qemu/relay/relay-options.js';
export type { RelayReport } from './qemu/relay/relay-report.js';
export type { StopShare } from './qemu/relay/stop-watch.js';

// What QEMU is asked.
export { connectQmp, type QmpConnection } from './qemu/qmp/connection.js';
export { qmpGuestControl, type QmpGuest } from './qemu/qmp/guest-control.js';
export { readQemuTable } from './qemu/qmp/read-qemu-table.js';
export type { QemuTable, QemuTableOptions, QemuTablePlan } from './qemu/qmp/qemu-table-options.js';
export type { GuestMemory } from './qemu/qmp/migration-settings.js';
export { guardAgainstMigration, refuseWhileMigrating } from './qemu/qmp/migration-guard.js';
export type { QmpEvent } from './qemu/qmp/messages.js';
export type { QmpOptions } from './qemu/qmp/qmp-options.js';

// How it is seen.
export { tableStats, type PageSizeStats, type TableStats } from './inspect/table-stats.js';
export type { MappedCounts, VsidStats } from './inspect/vsid-stats.js';
export { linuxAddress, linuxPage, type LinuxAddress, type LinuxPage } from './inspect/linux-address.js';
export type { KernelPages, LinuxRegion } from './inspect/linux-regions.js';
export { linuxGuest, type ContextStats, type LinuxGuest } from './inspect/linux-guest.js';
export { findEntries, type EntryQuery, type FoundEntry } from './inspect/find-entries.js';
export { fitOrder, type Fit, type Meeting } from './inspect/fit-order.js';
export { adviseOrder, type OrderAdvice } from './inspect/advise-order.js';

// How it moves.
export { sendHpt, type SendOptions } from './migration/source/send.js';
export type { SendReport } from './migration/source/send-report.js';
export { receiveHpt, type ReceiveOptions, type ReceiveProgress } from './migration/destination/receive.js';
export type { ReceiveReport } from './migration/destination/receive-report.js';
export { openJournal } from './migration/journal/journal-file.js';
export { HtabJournalError, type JournalFault } from './migration/journal/journal-damage.js';
export {
  type Decision,
  type Journal,
  type JournalEntry,
  type JournalRecord,
  type Side,
} from './migration/journal/journal.js';
export { MemoryJournal } from './migration/journal/memory-journal.js';
export {
  answerOutcomes,
  askOutcome,
  type AnswerOptions,
  type AskOptions,
  type OutcomeOptions,
} from './migration/outcome.js';
export type { DestinationRest, RestCall, SourceRest } from './migration/rest.js';
export { requestDestinationRest, requestSourceRest } from './migration/vmm-rest.js';
export type { Channel } from './migration/wire/dialer.js';
export type { AskedOutcome } from './migration/wire/messages.js';
export type { SourceTable, TargetTable } from './migration/tables.js';
export { channels } from './migration/events.js';
export type {
  DestinationPassEvent,
  EventChannel,
  OutcomeEvent,
  PassEvent,
  ReconnectingEvent,
  SourcePassEvent,
  StateEvent,
} from './migration/events.js';
export type { DestinationState, SourceState } from './migration/states.js';
export type { NotConverging, PrecopyLimits } from './precopy/policy.js';
export type { PassReport } from './precopy/pass-report.js';
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
  type HtabErrorOptions,
} from './base/errors.js';
