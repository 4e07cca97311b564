import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { systemCall } from '../../base/system-call.js';
import { formatHostAndPort } from '../../transport/address.js';

/** Registers metrics, and keeps them current; gives what ends that. */
export type Collector = (registry: Registry) => () => void;

/** Metrics being served; they end with the process. */
export interface MetricsServer {
  /** Where they are served. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves metrics as Prometheus text, at `/metrics`.
 *
 * @throws HtabSystemError if the kernel refuses the address; Error of node:dns
 */
export async function serveMetrics(
  { host, port }: { readonly host: string; readonly port: number },
  collect: Collector,
): Promise<MetricsServer> {
  const registry = new Registry();
  const stop = collect(registry);
  const server = createServer((request, response) => {
    answer(registry, request, response).catch(() => response.destroy());
  });
  // A connection that cannot be accepted must not end a process whose guest is stopped.
  server.on('error', () => undefined);
  try {
    const listening = once(server, 'listening');
    server.listen(port, host);
    await systemCall(`listen at ${formatHostAndPort(host, port)}`, listening);
  } catch (error) {
    stop();
    throw error;
  }
  const bound = server.address() as AddressInfo;
  return {
    url: `http://${formatHostAndPort(bound.address, bound.port)}/metrics`,
    close: async () => {
      stop();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(registry: Registry, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.url?.split('?')[0] !== '/metrics') {
    response.writeHead(404).end();
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
  } else {
    response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
  }
}
