import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Two ends of one TCP connection of this machine with itself. */
export interface Loopback {
  readonly client: Socket;
  readonly server: Socket;
}

/** Connects this process with itself; destroying both sockets ends it. */
export async function connectLoopback(): Promise<Loopback> {
  const listener = createServer({ noDelay: true }).listen(0, '127.0.0.1');
  let client: Socket | undefined;
  try {
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const accepted = once(listener, 'connection') as Promise<[Socket]>;
    client = connect({ port, host: '127.0.0.1', noDelay: true });
    const [[server]] = await Promise.all([accepted, once(client, 'connect')]);
    return { client, server };
  } catch (error) {
    client?.destroy();
    throw error;
  } finally {
    listener.close();
  }
}
