import type { Duplex } from 'node:stream';
import { HtabStateError } from '../../base/errors.js';
import { migrationError } from '../../migration/errors.js';
import { STREAM_MAGIC } from '../stream/layout.js';
import { switchOff } from './refusals.js';

const MAGIC_BYTES = 4;
/** What each further connection of a multifd source begins with. */
const MULTIFD_MAGIC = 0x11223344;
/** A TLS record that begins a handshake, of any version. */
const TLS_HANDSHAKE = 0x1603;
/** Most connections that have not told what they are. */
const MAX_SILENT = 16;

/** Told why a connection was closed that is no migration; `from` is the peer's IP address, where it has one. */
export type OnRefused = (reason: Error, from: string | undefined) => void;

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
export class Arrivals {
  /** The first migration. */
  readonly first: Promise<MigrationSource>;
  readonly #onRefused: OnRefused;
  /** Connections that have not told what they are, each with what comes of it. */
  readonly #silent = new Map<Duplex, Promise<void>>();
  readonly #trouble = new AbortController();
  #takeFirst!: (source: MigrationSource) => void;
  #taken = false;
  #closed = false;

  constructor(connections: AsyncIterable<Duplex>, onRefused: OnRefused) {
    this.#onRefused = onRefused;
    this.first = new Promise((resolve) => {
      this.#takeFirst = resolve;
    });
    this.#accept(connections).catch((error: unknown) => {
      this.#trouble.abort(error);
    });
  }

  /** Aborted once a connection shows that the source migrates in a way that a relay cannot pass on. */
  get trouble(): AbortSignal {
    return this.#trouble.signal;
  }

  /** Closes all connections but the migration's. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#silent.keys()) socket.destroy();
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
      const admitted = this.#admit(socket).catch((error: unknown) => {
        socket.destroy();
        if (!this.#closed) this.#onRefused(error as Error, from);
      });
      this.#silent.set(socket, admitted);
    }
    await Promise.all(this.#silent.values());
    if (!this.#taken) throw new HtabStateError('closed', 'the listener was closed before a migration came');
  }

  async #admit(socket: Duplex): Promise<void> {
    const head = await readHead(socket).finally(() => this.#silent.delete(socket));
    if (head.length < MAGIC_BYTES) throw migrationError(`a connection ended after ${head.length} bytes`);
    const magic = head.readUInt32BE();
    if (magic === MULTIFD_MAGIC || magic >>> 16 === TLS_HANDSHAKE) {
      socket.destroy();
      this.#trouble.abort(
        magic === MULTIFD_MAGIC
          ? switchOff('multifd', 'its memory goes over connections of their own')
          : migrationError('the source uses TLS, which hides the table; clear its parameter tls-creds'),
      );
    } else if (magic !== STREAM_MAGIC) {
      throw migrationError(
        `a connection begins with ${head.toString('hex', 0, MAGIC_BYTES)}, as no migration does`,
      );
    } else if (this.#taken) {
      throw migrationError('another migration came; a relay passes on one');
    } else {
      this.#taken = true;
      this.#takeFirst({ socket, head });
    }
  }
}

/** The first bytes of a connection, with all that came with them; fewer only where it ends before. */
async function readHead(socket: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAGIC_BYTES) break;
  }
  return Buffer.concat(chunks);
}
