import type { Variant } from '@mlx-serving/policy';
import { type Health, readiness } from '@mlx-serving/service-kit';
import type { GatewayMetrics } from '../metrics.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';
import type { FromProcess, LeaseChange, SharedLease, ToProcess } from './process-messages.ts';

/** The channel to the process that started this one. */
export interface ParentChannel {
  send?(message: FromProcess): unknown;
  on(event: 'message', listener: (message: ToProcess) => void): unknown;
}

/**
 * One of several processes of a gateway. It shows its metrics and its health through the first one, and a worker that
 * joined at one process has joined at all.
 */
export class SiblingProcess {
  readonly #channel: ParentChannel;

  constructor(channel: ParentChannel) {
    this.#channel = channel;
  }

  /** Answers the first process from now on. */
  connect({ pools, metrics, health }: { pools: Record<Variant, WorkerPool>; metrics: GatewayMetrics; health: Health }): void {
    this.#channel.on('message', (message) => {
      if (message.kind === 'show') return void this.#show(message.question, metrics, health);
      const pool = pools[message.variant];
      if (message.change === 'joined') pool.join(message.address);
      else pool.leave(message.address);
    });
  }

  started(stopLimitMs: number): void {
    this.#channel.send?.({ kind: 'started', stopLimitMs });
  }

  /** A worker's lease at this process began or ended. */
  tell(change: LeaseChange['change'], { variant, address }: SharedLease): void {
    this.#channel.send?.({ kind: 'lease', change, variant, address });
  }

  async #show(question: number, { registry }: GatewayMetrics, health: Health): Promise<void> {
    this.#channel.send?.({ kind: 'state', question, pid: process.pid, metrics: await registry.getMetricsAsJSON(), readiness: readiness(health) });
  }
}
