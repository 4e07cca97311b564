import { lookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { once } from 'node:events';
import { connect as connectNet, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import { HtabSystemError } from '../../errors.js';
import { systemCall, type Hints } from '../../node/system-call.js';
import { about } from '../about.js';
import { UsageError } from '../usage-error.js';
import { formatAddress, type Address, type TcpAddress } from './address.js';
import { checkPlaintext, inWords, type Identity, type Security } from './security.js';

/** Longest time until a connection stands, TLS handshake included. */
const CONNECT_TIMEOUT_MS = 10_000;

const HINTS: Hints = {
  ENOENT: 'there is no such socket: does the destination run, and is this its path?',
  ECONNREFUSED: 'nobody listens there: does the destination run?',
  EACCES: 'this user may not connect to it',
  EHOSTUNREACH: 'there is no way to this host: is it up, and its firewall open?',
  ENETUNREACH: 'there is no way to this network',
};

/**
 * Connects to a listening peer. With TLS the peer has shown a right certificate when this resolves; whether it likes ours
 * shows only with its first bytes (TLS 1.3).
 *
 * @throws UsageError for plaintext that would leave this machine; nothing has been sent then
 * @throws HtabSystemError for what the kernel refuses, ETIMEDOUT if it takes too long
 * @throws Error of node:dns or node:tls; the signal's reason
 */
export async function connect(address: Address, security: Security, signal: AbortSignal): Promise<Duplex> {
  if (address.kind === 'systemd') throw new UsageError('"systemd" is an address to listen at');
  const operation = `connect to ${formatAddress(address)}`;
  const socket = open(address, security);
  const timeout = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
  const connected = once(socket, security.identity === undefined ? 'connect' : 'secureConnect', {
    signal: AbortSignal.any([signal, timeout]),
  }).catch((error: unknown) => {
    throw inWords(error as Error, 'is its address tcp://?');
  });
  // Until the migration takes the connection nobody listens: without this its failure would end the process.
  socket.on('error', () => undefined);
  try {
    await about(operation, systemCall(operation, connected, HINTS));
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    if (!timeout.aborted) throw error;
    const hint = `no connection within ${CONNECT_TIMEOUT_MS} ms`;
    // Why it was given up is all that the cause could say.
    throw new HtabSystemError('connect', 'ETIMEDOUT', { operation, hint });
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
    checkServerIdentity: (_name, certificate) => {
      const error = checkServerIdentity(peerName, certificate);
      if (error !== undefined) error.message += '; if it is the right peer, name it with --peer-name';
      return error;
    },
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
