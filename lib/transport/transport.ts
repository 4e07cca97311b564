import type { Duplex } from 'node:stream';
import { checkFunction, checkString, invalidValueError } from '../base/arguments.js';
import { checkOptions, type OptionNames } from '../base/options.js';
import type { Address } from './address.js';
import type { OnRefused } from './arrivals.js';
import type { Listener } from './listen.js';
import type { SecurityOptions } from './security.js';

// Importing kvm-htab loads neither node:net nor node:tls: the first call of these functions does.

/** How {@link listen} protects and reports its connections. */
export interface ListenOptions extends SecurityOptions {
  /**
   * Called with the reason, and the peer's IP address where it has one, for each connection that is closed before a
   * receiver has taken it: a failed TLS handshake, a certificate for another name, too many idle peers.
   */
  readonly onRefused?: OnRefused | undefined;
}

/** How {@link connect} protects its connection. */
export interface ConnectOptions extends SecurityOptions {
  /** Ends the attempt: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const SECURITY_NAMES: OptionNames<SecurityOptions> = {
  cert: true,
  key: true,
  ca: true,
  peerName: true,
  insecurePlaintext: true,
};
const LISTEN_NAMES: OptionNames<ListenOptions> = { ...SECURITY_NAMES, onRefused: true };
const CONNECT_NAMES: OptionNames<ConnectOptions> = { ...SECURITY_NAMES, signal: true };

/**
 * Listens for the sources of migrations. The listener gives its connections to {@link receiveHpt} and
 * {@link answerOutcomes}; any number of them share one listener, one after the other or at once. It handles the errors of
 * sockets that no receiver has taken, limits them to 512, and gives each TLS handshake 10 s.
 *
 * With TLS (1.3 only), both sides show a certificate, and only peers with a certificate from one of the authorities in
 * `ca`, and for `peerName` if that is given, are let in.
 *
 * @param address `tls://HOST:PORT`, `tcp://HOST:PORT`, `unix:PATH`, or `systemd` for the one socket that systemd has passed
 *   to this process (sd_listen_fds(3); TLS if certificates are given). An IPv6 address stands in brackets. Port 0 lets the
 *   kernel choose. Only this user may connect to a Unix socket made here
 * @throws TypeError for an invalid address, for TLS without certificates, for certificates without TLS, and for plaintext
 *   from beyond this machine unless `insecurePlaintext` is set
 * @throws HtabSystemError if the kernel refuses: the address is in use (EADDRINUSE), a certificate cannot be read
 * @throws Error if a file holds no certificate or key, or the host's name cannot be resolved
 *
 * @example
 * using listener = await listen('tls://0.0.0.0:7000', { cert: 'host.pem', key: 'host.key', ca: 'fleet.pem' });
 * const report = await receiveHpt(vm, listener, { journal });
 */
export async function listen(address: string, options: ListenOptions = {}): Promise<Listener> {
  checkOptions(options, LISTEN_NAMES);
  const { onRefused = () => undefined, ...security } = options;
  checkFunction('onRefused', onRefused);
  const { listenAt } = await import('./listen.js');
  const { loadSecurity } = await import('./security.js');
  const parsed = await addressOf(address);
  return listenAt(parsed, await loadSecurity(parsed, security), onRefused);
}

/**
 * Connects to a {@link listen} of another process. The errors of the connection are handled until a migration takes it.
 *
 * With TLS (1.3 only), the peer has shown a valid certificate for `peerName` when this resolves. Whether it accepts this
 * host's certificate shows only with its first bytes. Certificates are read anew for each connection.
 *
 * An agent may use it for connections of its own as well. Either side's `end()` closes both directions (`allowHalfOpen` is false).
 *
 * @param address `tls://HOST:PORT`, `tcp://HOST:PORT` or `unix:PATH`. An IPv6 address stands in brackets
 * @returns the connection, for {@link sendHpt} or {@link askOutcome}
 * @throws TypeError for an invalid address, for TLS without certificates, for certificates without TLS, and for plaintext
 *   that would leave this machine unless `insecurePlaintext` is set; nothing has been sent then
 * @throws HtabSystemError if the kernel refuses, ETIMEDOUT if there is no connection within 10 s
 * @throws Error of node:dns or node:tls; the signal's reason
 *
 * @example
 * const tls = { cert: 'host.pem', key: 'host.key', ca: 'fleet.pem' };
 * await sendHpt(vm, () => connect('tls://host-b:7000', tls), { pause, resume });
 */
export async function connect(address: string, options: ConnectOptions = {}): Promise<Duplex> {
  checkOptions(options, CONNECT_NAMES);
  const { signal = new AbortController().signal, ...security } = options;
  const { connectTo } = await import('./connect.js');
  const { loadSecurity } = await import('./security.js');
  const parsed = await addressOf(address);
  return connectTo(parsed, await loadSecurity(parsed, security), signal);
}

async function addressOf(text: string): Promise<Address> {
  checkString('address', text);
  const { parseAddress } = await import('./address.js');
  try {
    return parseAddress(text);
  } catch (error) {
    throw invalidValueError(
      `The "address" argument is invalid. ${(error as Error).message} Received ${JSON.stringify(text)}`,
    );
  }
}
