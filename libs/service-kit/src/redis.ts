import { Redis } from 'ioredis';
import type { Logger } from './logger.ts';

/** Longest wait for one command. Without it ioredis waits for ever on a silent server (measured: still pending after 15 s). */
export const COMMAND_TIMEOUT_MS = 250;

/**
 * A Redis client that fails fast and reconnects with a jittered backoff of 50 ms to 2 s.
 * @param url `redis://…`
 * @param commandTimeoutMs longest wait for one command. Default: 250
 */
export function createRedis(url: string, logger: Logger, name: string, { commandTimeoutMs = COMMAND_TIMEOUT_MS } = {}): Redis {
  const redis = new Redis(url, {
    connectionName: `mlx-serving-${name}`,
    commandTimeout: commandTimeoutMs,
    connectTimeout: 2_000,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: true,
    // Whoever listens says so at each `ready`; what ioredis repeats by itself fails where nobody can catch it.
    autoResubscribe: false,
    retryStrategy: (attempt) => Math.min(2_000, 50 * 2 ** Math.min(attempt, 6)) * (0.5 + Math.random() / 2),
    lazyConnect: true,
  });
  let lastProblem = '';
  redis.on('error', (error: Error) => {
    if (error.message !== lastProblem) logger.warn({ problem: error.message }, 'redis is not reachable');
    lastProblem = error.message;
  });
  redis.on('ready', () => {
    if (lastProblem) logger.info('redis is reachable again');
    lastProblem = '';
  });
  return redis;
}
