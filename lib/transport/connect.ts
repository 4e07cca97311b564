import { lookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { connect as connectNet, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import { invalidValueError } from '../base/arguments.js';
import { connected } from '../base/connected.js';
import { formatAddress, type Address, type TcpAddress } from './address.js';
import { plainError } from './plain-error.js';
import { checkPlaintext, type Identity, type Security } from './security.js';

/** Longest time until a connection stands, TLS handshake included. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Connects to a listening peer. With TLS the peer has shown a right certificate when this resolves; whether it likes ours
 * shows only with its first bytes (TLS 1.3).
 *
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`) for plaintext that would leave this machine; nothing has been sent then
 * @throws HtabSystemError for what the kernel refuses, ETIMEDOUT if it takes too long
 * @throws Error of node:dns or node:tls; the signal's reason
 */
export async function connectTo(address: Address, security: Security, signal: AbortSignal): Promise<Duplex> {
  if (address.kind === 'systemd') {
    throw invalidValueError(
      'a listener alone can use systemd; give tls://HOST:PORT, tcp://HOST:PORT or unix:PATH',
      'address',
    );
  }
  const operation = `connect to ${formatAddress(address)}`;
  const socket = open(address, security);
  // Until the migration takes the connection it has no listener: without this its failure would end the process.
  socket.on('error', () => undefined);
  try {
    await connected(socket, {
      ...{ operation, signal, timeoutMs: CONNECT_TIMEOUT_MS },
      event: security.identity === undefined ? 'connect' : 'secureConnect',
      hint: `no connection within ${CONNECT_TIMEOUT_MS} ms; check the address, and the firewalls`,
    });
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw plainError(error, 'its address may be a tcp:// one', operation);
  }
  if (address.kind !== 'unix') socket.setNoDelay(true).setKeepAlive(true);
  return socket;
}

function open(address: Exclude<Address, { kind: 'systemd' }>, security: Security): Socket {
  if (address.kind === 'unix') return connectNet({ path: address.path });
  if (security.identity !== undefined) return openTls(address, security.identity, security.peerName);
  const { host, port } = address;
  if (isIP(host) !== 0) checkPlaintext(host, security);
  return connectNet({ host, port, lookup: checkedLookup(security) });
}

function openTls({ host, port }: TcpAddress, identity: Identity, peerName = host): TLSSocket {
  return connectTls({
    ...identity,
    host,
    port,
    // An IP address is no server name (RFC 6066, 3).
    ...(isIP(peerName) === 0 && { servername: peerName }),
    checkServerIdentity: (_name, certificate) => checkServerIdentity(peerName, certificate),
  });
}

/** Resolves a name, and refuses it before anything connects if it may lead beyond this machine. */
function checkedLookup(security: Security): LookupFunction {
  return (hostname, options: LookupOptions, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      try {
        // There are no addresses then, not even an empty list.
        if (error) throw error;
        for (const { address } of addresses) checkPlaintext(address, security);
      } catch (refusal) {
        callback(refusal as Error, []);
        return;
      }
      const [first] = addresses;
      if (options.all === true) callback(null, addresses);
      else callback(null, first!.address, first!.family);
    });
  };
}
