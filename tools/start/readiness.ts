import { get } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceSpec } from './services.ts';

const POLL_MS = 50;
const PROBE_TIMEOUT_MS = 2_000;

/**
 * Resolves when a service says that it is ready.
 * @throws what `signal` was aborted with
 */
export async function waitUntilReady(ready: ServiceSpec['ready'], signal: AbortSignal): Promise<void> {
  while (!(await isReady(ready))) await delay(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
}

export function isReady({ kind, port }: ServiceSpec['ready']): Promise<boolean> {
  return kind === 'http' ? answersOk(port) : answersPong(port);
}

/** Whether a service answers this path with 200, soon. */
export function answersOk(port: number, path = '/health/ready'): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path, agent: false, timeout: PROBE_TIMEOUT_MS }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

function answersPong(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => finish(false));
    socket.on('error', () => finish(false));
    socket.on('data', (bytes) => finish(bytes.toString().startsWith('+PONG')));
  });
}
