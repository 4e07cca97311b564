import type { Duplex } from 'node:stream';
import { HtabStateError } from '../../base/errors.js';
import { migrationError } from '../../migration/errors.js';
import { STREAM_MAGIC } from '../stream/layout.js';
import { switchOff } from './refusals.js';

const MAGIC_BYTES = 4;
/** What each further connection of a multifd source begins with: this, a version, and the rest of one message. */
const MULTIFD_MAGIC = 0x11223344;
const MULTIFD_VERSION = 1;
const MULTIFD_HELLO_BYTES = 64;
/** A TLS record that begins a handshake, of any version. */
const TLS_HANDSHAKE = 0x1603;
/** Most connections that have not told what they are, and most of multifd that are kept. */
const MAX_SILENT = 16;

/** Told why a connection was closed that is no migration; `from` is the peer's IP address, where it has one. */
export type OnNoMigration = (reason: Error, from: string | undefined) => void;

/** A connection that begins as a migration does. */
export interface MigrationSource {
  readonly socket: Duplex;
  /** What has come of it so far. */
  readonly head: Buffer;
}

/**
 * Tells connections apart by their first bytes. The destination's QEMU takes one connection in its life, and ends with it:
 * a port scan must not reach it.
 */
export class MigrationFinder {
  /** The first migration. */
  readonly first: Promise<MigrationSource>;
  readonly #onRefused: OnNoMigration;
  /** Connections that have not told what they are, each with what comes of it. */
  readonly #silent = new Map<Duplex, Promise<void>>();
  /** Connections of multifd whose migration has not come. */
  readonly #channels = new Set<Duplex>();
  readonly #trouble = new AbortController();
  #takeFirst!: (source: MigrationSource) => void;
  #isAlone = false;
  #taken = false;
  #closed = false;

  constructor(connections: AsyncIterable<Duplex>, onRefused: OnNoMigration) {
    this.#onRefused = onRefused;
    this.first = new Promise((resolve) => {
      this.#takeFirst = resolve;
    });
    this.#accept(connections).catch((error: unknown) => {
      this.#trouble.abort(error);
    });
  }

  /** Aborted if no migration can come any more, or if its source uses multifd: each side would wait for the other then. */
  get trouble(): AbortSignal {
    return this.#trouble.signal;
  }

  /** The migration's memory goes by: no other connection is part of it, whatever it begins with. */
  setAlone(): void {
    this.#isAlone = true;
  }

  /** Closes all connections but the migration's. */
  close(): void {
    this.#closed = true;
    for (const socket of [...this.#silent.keys(), ...this.#channels]) socket.destroy();
  }

  async #accept(connections: AsyncIterable<Duplex>): Promise<void> {
    for await (const socket of connections) {
      // Without a listener its failure would end the process.
      socket.on('error', () => undefined);
      if (this.#closed) {
        socket.destroy();
        return;
      }
      if (this.#silent.size === MAX_SILENT) this.#silent.keys().next().value?.destroy();
      // One that has been closed does not tell it any more.
      const from = (socket as { readonly remoteAddress?: string }).remoteAddress;
      const admitted = this.#admit(socket, !this.#isAlone).catch((error: unknown) => {
        socket.destroy();
        if (!this.#closed) this.#onRefused(error as Error, from);
      });
      this.#silent.set(socket, admitted);
    }
    await Promise.all(this.#silent.values());
    if (!this.#taken) throw new HtabStateError('closed', 'the listener was closed before a migration came');
  }

  async #admit(socket: Duplex, mayBeChannel: boolean): Promise<void> {
    const head = await readHead(socket).finally(() => this.#silent.delete(socket));
    if (head.length < MAGIC_BYTES) throw migrationError(`a connection ended after ${head.length} bytes`);
    const magic = head.readUInt32BE();
    if (mayBeChannel && isMultifdHello(head)) {
      this.#admitChannel(socket);
      return;
    }
    if (magic !== STREAM_MAGIC) throw noMigration(magic);
    if (this.#taken) throw migrationError('another migration came; a relay passes on one');
    this.#taken = true;
    if (this.#channels.size === 0) {
      this.#takeFirst({ socket, head });
      return;
    }
    socket.destroy();
    this.#trouble.abort(noMigration(MULTIFD_MAGIC));
  }

  /** Its source connects all before it sends memory: this one may come before the migration. */
  #admitChannel(socket: Duplex): void {
    if (this.#taken) {
      socket.destroy();
      this.#trouble.abort(noMigration(MULTIFD_MAGIC));
      return;
    }
    if (this.#channels.size === MAX_SILENT) this.#channels.values().next().value?.destroy();
    this.#channels.add(socket);
    socket.on('close', () => this.#channels.delete(socket)).resume();
  }
}

function isMultifdHello(head: Buffer): boolean {
  return (
    head.length >= MULTIFD_HELLO_BYTES &&
    head.readUInt32BE() === MULTIFD_MAGIC &&
    head.readUInt32BE(4) === MULTIFD_VERSION
  );
}

/** Why a connection that begins like this is not passed on. */
function noMigration(magic: number): Error {
  if (magic === MULTIFD_MAGIC) return switchOff('multifd', 'its memory goes over connections of their own');
  if (magic >>> 16 === TLS_HANDSHAKE) {
    return migrationError('the source uses TLS, which hides the table; clear its parameter tls-creds');
  }
  const hex = magic.toString(16).padStart(8, '0');
  return migrationError(`a connection begins with ${hex}, as no migration does`);
}

/** The first bytes of a connection, with all that came with them; fewer only where it ends before. */
async function readHead(socket: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < MAGIC_BYTES) continue;
    const isMultifd = Buffer.concat(chunks).readUInt32BE() === MULTIFD_MAGIC;
    if (!isMultifd || bytes >= MULTIFD_HELLO_BYTES) break;
  }
  return Buffer.concat(chunks);
}
