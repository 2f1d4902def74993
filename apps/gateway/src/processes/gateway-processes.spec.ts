import cluster, { type Worker } from 'node:cluster';
import { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import type { GatewayConfig } from '../config.ts';
import { GatewayProcesses } from './gateway-processes.ts';

afterEach(() => void jest.restoreAllMocks());

/** A process that serves at once and ends when it is told to. */
function processOf(): Worker {
  const worker = Object.assign(new EventEmitter(), {
    isConnected: () => false,
    process: { kill: () => void setImmediate(() => worker.emit('exit', 0, null)) },
  });
  setImmediate(() => worker.emit('message', { kind: 'started', stopLimitMs: 0 }));
  return worker as unknown as Worker;
}

describe('what starts the processes of a gateway', () => {
  it('outlives a message to one that was killed just then', async () => {
    const one = processOf();
    jest.spyOn(cluster, 'fork').mockReturnValue(one);
    const processes = new GatewayProcesses({ host: '127.0.0.1', trustedNetwork: false, operationsPort: 0, processes: 1, replicaId: 'gateway' } as GatewayConfig, silentLogger);
    await processes.start();
    expect(() => one.emit('error', new Error('write EPIPE'))).not.toThrow();
    await processes.stop();
  });
});
