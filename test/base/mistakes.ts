import * as api from '../../lib/index.js';
import { NOT_AN_OBJECT, NOTHING_USEFUL, NO_FUNCTION, NO_PATH, NO_BIGINT } from './wrong-values.js';
import { vm, handle, table, guest, journal, stream, unused, noConnections } from './right-arguments.js';

/** A mistake passes for any type, as it does without types. */
export type Call = (wrong: never) => unknown;

/**
 * What a caller without types gets wrong most often, for every public function: a TypeError that names the argument.
 */
export const mistakes: Readonly<
  Record<string, Readonly<Record<string, readonly [readonly unknown[], Call]>>>
> = {
  sendHpt: {
    source: [NOTHING_USEFUL, (it) => api.sendHpt(it, stream(), guest)],
    'source ': [
      [
        { order: 18, handle: undefined },
        { order: 18, handle: {} },
      ],
      (it) => api.sendHpt(it, stream(), guest),
    ],
    channel: [NO_FUNCTION, (it) => api.sendHpt(vm, it, guest)],
    options: [[undefined, ...NOT_AN_OBJECT], (it) => api.sendHpt(vm, stream(), it)],
    pause: [NO_FUNCTION, (it) => api.sendHpt(vm, stream(), { ...guest, pause: it })],
    journal: [
      [null, 5, {}, Promise.resolve(journal)],
      (it) => api.sendHpt(vm, stream(), { ...guest, journal: it }),
    ],
    signal: [[null, 5, {}], (it) => api.sendHpt(vm, stream(), { ...guest, signal: it })],
    onProgress: [[null, 5, {}], (it) => api.sendHpt(vm, stream(), { ...guest, onProgress: it })],
  },
  receiveHpt: {
    target: [NO_FUNCTION, (it) => api.receiveHpt(it, stream())],
    channel: [NOTHING_USEFUL, (it) => api.receiveHpt(vm, it)],
    options: [NOT_AN_OBJECT, (it) => api.receiveHpt(vm, stream(), it)],
    journal: [[null, 5, {}], (it) => api.receiveHpt(vm, stream(), { journal: it })],
  },
  listen: {
    address: [NO_PATH, (it) => api.listen(it)],
    options: [NOT_AN_OBJECT, (it) => api.listen('unix:/nowhere/socket', it)],
    onRefused: [[null, 5, {}], (it) => api.listen('unix:/nowhere/socket', { onRefused: it })],
  },
  connect: {
    address: [NO_PATH, (it) => api.connect(it)],
    options: [NOT_AN_OBJECT, (it) => api.connect('unix:/nowhere/socket', it)],
  },
  'VmmSocket.open': {
    socketPath: [NO_PATH, (it) => api.VmmSocket.open(it)],
    options: [NOT_AN_OBJECT, (it) => api.VmmSocket.open('/nowhere/socket', it)],
  },
  requestSource: {
    socketPath: [NO_PATH, (it) => api.requestSource(it)],
    options: [NOT_AN_OBJECT, (it) => api.requestSource('/nowhere/socket', it)],
  },
  requestTarget: {
    socketPath: [NO_PATH, (it) => api.requestTarget(it)],
    options: [NOT_AN_OBJECT, (it) => api.requestTarget('/nowhere/socket', it)],
  },
  requestSourceRest: {
    socketPath: [NO_PATH, (it) => api.requestSourceRest(it)],
    options: [NOT_AN_OBJECT, (it) => api.requestSourceRest('/nowhere/socket', it)],
  },
  requestDestinationRest: {
    socketPath: [NO_PATH, (it) => api.requestDestinationRest(it)],
    options: [NOT_AN_OBJECT, (it) => api.requestDestinationRest('/nowhere/socket', it)],
  },
  askOutcome: {
    channel: [NOTHING_USEFUL, (it) => api.askOutcome(it, 'm-1')],
    options: [NOT_AN_OBJECT, (it) => api.askOutcome(stream(), 'm-1', it)],
  },
  answerOutcomes: {
    journal: [NOTHING_USEFUL, (it) => api.answerOutcomes(it, stream())],
    connections: [NOTHING_USEFUL, (it) => api.answerOutcomes(journal, it)],
    options: [NOT_AN_OBJECT, (it) => api.answerOutcomes(journal, stream(), it)],
  },
  openJournal: { file: [NO_PATH, (it) => api.openJournal(it)] },
  saveSnapshot: {
    source: [NOTHING_USEFUL, (it) => api.saveSnapshot(it, '/nowhere/x')],
    path: [NO_PATH, (it) => api.saveSnapshot(vm, it)],
    options: [NOT_AN_OBJECT, (it) => api.saveSnapshot(vm, '/nowhere/x', it)],
    guest: [NOT_AN_OBJECT, (it) => api.saveSnapshot(vm, '/nowhere/x', { guest: it })],
  },
  loadSnapshot: {
    snapshot: [NOTHING_USEFUL.filter((it) => it !== 'text'), (it) => api.loadSnapshot(it, vm)],
    target: [NOTHING_USEFUL, (it) => api.loadSnapshot('/nowhere', it)],
    options: [NOT_AN_OBJECT, (it) => api.loadSnapshot('/nowhere', vm, it)],
    readBack: [[...NOT_AN_OBJECT, {}], (it) => api.loadSnapshot('/nowhere', vm, { readBack: it })],
  },
  readSnapshot: {
    path: [NO_PATH, (it) => api.readSnapshot(it)],
    options: [NOT_AN_OBJECT, (it) => api.readSnapshot('/nowhere', it)],
  },
  readTable: {
    source: [NOTHING_USEFUL, (it) => api.readTable(it)],
    options: [NOT_AN_OBJECT, (it) => api.readTable(vm, it)],
  },
  'HptReader.open': {
    vm: [NOTHING_USEFUL, (it) => api.HptReader.open(it)],
    options: [NOT_AN_OBJECT, (it) => api.HptReader.open(vm, it)],
  },
  'new HptReader': {
    handle: [NOTHING_USEFUL, (it) => new api.HptReader(it)],
    options: [NOT_AN_OBJECT, (it) => new api.HptReader(handle, it)],
  },
  'reader.pass': { options: [NOT_AN_OBJECT, (it) => new api.HptReader(handle).pass(it).next()] },
  createReadStream: {
    source: [NOTHING_USEFUL, (it) => api.createReadStream(it)],
    options: [NOT_AN_OBJECT, (it) => api.createReadStream(vm, it)],
  },
  createWriteStream: {
    target: [NOTHING_USEFUL, (it) => api.createWriteStream(it)],
    options: [NOT_AN_OBJECT, (it) => api.createWriteStream(vm, it)],
  },
  resizeHpt: {
    vm: [NOTHING_USEFUL, (it) => api.resizeHpt(it, 18)],
    options: [NOT_AN_OBJECT, (it) => api.resizeHpt(vm, 18, it)],
  },
  openVm: { options: [[undefined, ...NOT_AN_OBJECT], (it) => api.openVm(it)] },
  probe: {
    options: [NOT_AN_OBJECT, (it) => api.probe(it)],
    device: [NO_PATH.slice(1), (it) => api.probe({ device: it })],
  },
  'new EmulatedVm': { options: [NOT_AN_OBJECT, (it) => new api.EmulatedVm(it)] },
  'vm.openHtab': { options: [NOT_AN_OBJECT, (it) => vm.openHtab(it)] },
  'handle.read': { buffer: [NOTHING_USEFUL, (it) => handle.read(it)] },
  'ImageVm.fromImage': { image: [NOTHING_USEFUL, (it) => api.ImageVm.fromImage(it)] },
  'KvmVm.create': {
    options: [NOT_AN_OBJECT, (it) => api.KvmVm.create(it)],
    device: [NO_PATH.slice(1), (it) => api.KvmVm.create({ device: it })],
  },
  'KvmVm.fromFd': { options: [NOT_AN_OBJECT, (it) => api.KvmVm.fromFd(0, it)] },
  adoptHtab: { options: [NOT_AN_OBJECT, (it) => api.adoptHtab(0, it)] },
  takeHtab: { descriptor: [[undefined, ...NOT_AN_OBJECT], (it) => api.takeHtab(it)] },
  receiveHtab: { options: [NOT_AN_OBJECT, (it) => api.receiveHtab('/nowhere', it)] },
  requestHtab: { options: [NOT_AN_OBJECT, (it) => api.requestHtab('/nowhere', it)] },
  'new RecordCursor': { options: [NOT_AN_OBJECT, (it) => new api.RecordCursor(it)] },
  'cursor.push': {
    chunk: [
      NOTHING_USEFUL,
      (it) => {
        new api.RecordCursor().push(it);
      },
    ],
  },
  'new RecordEncoder': {
    sink: [NO_FUNCTION, (it) => new api.RecordEncoder(it)],
    options: [NOT_AN_OBJECT, (it) => new api.RecordEncoder(() => undefined, it)],
  },
  decodeRecords: {
    chunks: [NOTHING_USEFUL.filter((it) => !Array.isArray(it)), (it) => api.decodeRecords(it)],
    options: [NOT_AN_OBJECT, (it) => api.decodeRecords([], it)],
  },
  foldRecords: {
    cursor: [NOTHING_USEFUL, (it) => api.foldRecords(it, table)],
    table: [NOTHING_USEFUL, (it) => api.foldRecords(new api.RecordCursor({ order: 18 }), it)],
  },
  readQemuStream: {
    source: [NO_PATH, (it) => api.readQemuStream(it)],
    options: [NOT_AN_OBJECT, (it) => api.readQemuStream('/nowhere', it)],
  },
  readTableFile: {
    source: [NO_PATH, (it) => api.readTableFile(it)],
    options: [NOT_AN_OBJECT, (it) => api.readTableFile('/nowhere', it)],
  },
  relayMigration: {
    connections: [NOTHING_USEFUL, (it) => api.relayMigration(it, unused)],
    openTarget: [NO_FUNCTION, (it) => api.relayMigration(noConnections, it)],
    options: [NOT_AN_OBJECT, (it) => api.relayMigration(noConnections, unused, it)],
  },
  connectQmp: {
    path: [NO_PATH, (it) => api.connectQmp(it)],
    options: [NOT_AN_OBJECT, (it) => api.connectQmp('/nowhere', it)],
  },
  qmpGuestControl: { connection: [NOTHING_USEFUL, (it) => api.qmpGuestControl(it)] },
  readQemuTable: { connection: [NOTHING_USEFUL, (it) => api.readQemuTable(it)] },
  refuseWhileMigrating: { connection: [NOTHING_USEFUL, (it) => api.refuseWhileMigrating(it)] },
  guardAgainstMigration: { connection: [NOTHING_USEFUL, (it) => api.guardAgainstMigration(it)] },
  guardedHandle: {
    handle: [NOTHING_USEFUL, (it) => api.guardedHandle(it, () => Promise.resolve())],
    check: [NO_FUNCTION, (it) => api.guardedHandle(handle, it)],
  },
  attachHtab: { options: [[undefined, ...NOT_AN_OBJECT], (it) => api.attachHtab(it)] },
  compareTables: {
    a: [NOTHING_USEFUL, (it) => api.compareTables(it, table)],
    b: [NOTHING_USEFUL, (it) => api.compareTables(table, it)],
  },
  digestTable: { table: [NOTHING_USEFUL, (it) => api.digestTable(it)] },
  'table.set': {
    v: [
      NO_BIGINT,
      (it) => {
        table.set(0, it, 0n);
      },
    ],
    r: [
      NO_BIGINT,
      (it) => {
        table.set(0, 1n, it);
      },
    ],
  },
  decodeHpte: {
    v: [NO_BIGINT, (it) => api.decodeHpte(it, 0n)],
    r: [NO_BIGINT, (it) => api.decodeHpte(0n, it)],
  },
  encodeHpte: {
    fields: [[undefined, ...NOT_AN_OBJECT], (it) => api.encodeHpte(it)],
    avpn: [NO_BIGINT.slice(1), (it) => api.encodeHpte({ avpn: it })],
  },
  encodeAvpn: { page: [[undefined, ...NOT_AN_OBJECT], (it) => api.encodeAvpn(it)] },
  hashPage: {
    page: [[undefined, ...NOT_AN_OBJECT], (it) => api.hashPage(it)],
    vsid: [NO_BIGINT, (it) => api.hashPage({ segment: '1T', vsid: it, offset: 0n, basePageShift: 12 })],
  },
  tableStats: { table: [NOTHING_USEFUL, (it) => api.tableStats(it)] },
  linuxGuest: { stats: [NOTHING_USEFUL, (it) => api.linuxGuest(it)] },
  linuxAddress: { page: [[undefined, ...NOT_AN_OBJECT], (it) => api.linuxAddress(it)] },
  linuxPage: {
    page: [[undefined, ...NOT_AN_OBJECT], (it) => api.linuxPage(it)],
    effectiveAddress: [
      NO_BIGINT,
      (it) => api.linuxPage({ context: 1, effectiveAddress: it, segment: '1T', basePageShift: 12 }),
    ],
  },
  findEntries: {
    table: [NOTHING_USEFUL, (it) => api.findEntries(it, { guestAddress: 0n })],
    query: [NOTHING_USEFUL, (it) => api.findEntries(table, it)],
    guestAddress: [NO_BIGINT, (it) => api.findEntries(table, { guestAddress: it })],
    vsid: [NO_BIGINT, (it) => api.findEntries(table, { vsid: it, offset: 0n })],
    offset: [NO_BIGINT, (it) => api.findEntries(table, { vsid: 0n, offset: it })],
  },
  fitOrder: { table: [NOTHING_USEFUL, (it) => api.fitOrder(it, 18)] },
  virtualPageOf: {
    v: [NO_BIGINT, (it) => api.virtualPageOf(0, it, 0n, 18)],
    r: [NO_BIGINT, (it) => api.virtualPageOf(0, 0n, it, 18)],
  },
};
