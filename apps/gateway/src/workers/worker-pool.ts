import type { Variant } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { GatewayConfig } from '../config.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { WorkerConnection } from './worker-connection.ts';

/** The workers of one variant. */
export class WorkerPool {
  readonly #workers: readonly WorkerConnection[];
  /** Where the search begins, so that equals take turns. */
  #turn = 0;

  constructor(workers: readonly WorkerConnection[]) {
    this.#workers = workers;
  }

  get size(): number {
    return this.#workers.length;
  }

  get serving(): readonly WorkerConnection[] {
    return this.#workers.filter((worker) => worker.serving);
  }

  /** The serving worker with the fewest requests of this gateway, or undefined when none serves. */
  pick(except: ReadonlySet<WorkerConnection> = new Set()): WorkerConnection | undefined {
    const candidates = this.serving.filter((worker) => !except.has(worker));
    const start = this.#turn++ % Math.max(1, candidates.length);
    const inTurn = [...candidates.slice(start), ...candidates.slice(0, start)];
    return inTurn.reduce<WorkerConnection | undefined>((best, worker) => (best && best.outstanding <= worker.outstanding ? best : worker), undefined);
  }

  start(): void {
    for (const worker of this.#workers) worker.start();
  }

  stop(): void {
    for (const worker of this.#workers) worker.stop();
  }
}

/** One pool for each variant, with a channel to each of its workers. */
export function createPools(config: Pick<GatewayConfig, 'workers' | 'canaryWorkers'>, metrics: GatewayMetrics, logger: Logger): Record<Variant, WorkerPool> {
  const createPool = (addresses: readonly string[], variant: Variant): WorkerPool => {
    const pool: WorkerPool = new WorkerPool(addresses.map((address) => new WorkerConnection(address, variant, logger, () => show())));
    const show = (): void => metrics.servingWorkers.set({ variant }, pool.serving.length);
    show();
    return pool;
  };
  return { baseline: createPool(config.workers, 'baseline'), canary: createPool(config.canaryWorkers, 'canary') };
}
