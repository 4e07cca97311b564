import { BlockList, isIP } from 'node:net';

/** A TCP port, with TLS over it or without. `host` is a name or an address, without brackets. */
export interface TcpAddress {
  readonly kind: 'tcp' | 'tls';
  readonly host: string;
  /** 0..65535; 0 lets the kernel choose, for listeners. */
  readonly port: number;
}

/** Where a migration's two ends meet. */
export type Address =
  | TcpAddress
  | { readonly kind: 'unix'; readonly path: string }
  /** The socket that systemd listens at and has passed to this process; for listeners. */
  | { readonly kind: 'systemd' };

/** sockaddr_un has room for 108 with the NUL, and libuv cuts what is longer: it would be another socket. */
const MAX_SOCKET_PATH_BYTES = 107;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/**
 * Reads `tls://HOST:PORT`, `tcp://HOST:PORT`, `unix:PATH` or `systemd`; an IPv6 address stands in brackets.
 *
 * @throws TypeError that says what is expected
 */
export function parseAddress(text: string): Address {
  if (text === 'systemd') return { kind: 'systemd' };
  if (text.startsWith('unix:') && text.length > 5) return { kind: 'unix', path: socketPath(text.slice(5)) };
  const [, kind, place] = /^(tcp|tls):\/\/(.*)$/.exec(text) ?? [];
  const hostAndPort = place === undefined ? undefined : parseHostAndPort(place);
  if (hostAndPort !== undefined) return { kind: kind === 'tls' ? 'tls' : 'tcp', ...hostAndPort };
  throw new TypeError('It must be tls://HOST:PORT, tcp://HOST:PORT or unix:PATH.');
}

/**
 * The path of a Unix socket, as it is given.
 *
 * @throws TypeError for one that is too long
 */
export function socketPath(path: string): string {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return path;
  throw new TypeError(`It must be a socket's path of at most ${MAX_SOCKET_PATH_BYTES} bytes.`);
}

/** Reads `HOST:PORT` or `[IPV6]:PORT`. */
export function parseHostAndPort(text: string): { host: string; port: number } | undefined {
  const [, ipv6, name, digits] = /^(?:\[([^\]]+)\]|([^:/@[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65535 || (ipv6 !== undefined && isIP(ipv6) !== 6)) return undefined;
  return { host, port };
}

/** The address as `parseAddress` takes it. */
export function formatAddress(address: Address): string {
  if (address.kind === 'systemd') return 'systemd';
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${address.kind}://${formatHostAndPort(address.host, address.port)}`;
}

export function formatHostAndPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether bytes sent to this IP address stay on this machine. */
export function isLoopback(ip: string): boolean {
  const family = isIP(ip);
  return family !== 0 && loopback.check(ip, family === 6 ? 'ipv6' : 'ipv4');
}
