import type { OptionTable } from '../base/options.js';
import type { SecurityOptions } from './security.js';
import type { ConnectOptions, ListenOptions } from './transport.js';

export const SECURITY_OPTIONS = {
  cert: { doc: "path of this host's certificate (PEM), for tls://" },
  key: { doc: 'path of its private key (PEM)' },
  ca: { doc: "path of the only authorities that may have signed the peer's certificate (PEM)" },
  peerName: {
    values: 'name or IP address',
    doc: "what the peer's certificate must carry; default: to connect, the host of the address; to listen, any name",
  },
  insecurePlaintext: {
    default: false,
    doc: 'allow tcp:// beyond this machine: anyone on the way can change the guest',
  },
} as const satisfies OptionTable<SecurityOptions>;

export const LISTEN_OPTIONS = {
  ...SECURITY_OPTIONS,
  onRefused: { doc: 'called when a connection is closed before a receiver has taken it, with the reason' },
} as const satisfies OptionTable<ListenOptions>;

export const CONNECT_OPTIONS = {
  ...SECURITY_OPTIONS,
  signal: { doc: 'ends the attempt' },
} as const satisfies OptionTable<ConnectOptions>;
