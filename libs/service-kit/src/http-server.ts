import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { portInUse } from './lifecycle-errors.ts';

/**
 * Listens, or rejects with one clear line when the port is taken.
 * @returns the port, which matters when 0 was asked for.
 */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EADDRINUSE' ? portInUse(host, port) : error));
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

/** Stops taking connections, ends the idle ones, and waits `graceMs` for the busy ones before it ends those too. */
export function closeHttpServer(server: Server, graceMs = 10_000): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(force);
      resolve();
    });
    server.closeIdleConnections();
  });
}
