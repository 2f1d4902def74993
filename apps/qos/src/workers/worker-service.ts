import type { StatsResponse } from '@mlx-serving/contracts';
import { MemoryCeiling } from '@mlx-serving/policy';
import { type Logger, WorkerWatch } from '@mlx-serving/service-kit';
import type { QosMetrics } from '../metrics.ts';

export interface WorkerServiceOptions {
  readonly addresses: readonly string[];
  /** The memory that a worker may take; 0 is no limit. */
  readonly memoryLimitBytes: (address: string) => number;
  readonly metrics: QosMetrics;
  readonly logger: Logger;
}

interface Watched {
  readonly watch: WorkerWatch;
  readonly ceiling: MemoryCeiling;
}

/** Watches every configured worker, shows what they say as metrics, by address, and learns what their memory takes. */
export class WorkerService {
  readonly #workers: ReadonlyMap<string, Watched>;
  readonly #options: WorkerServiceOptions;

  constructor(options: WorkerServiceOptions) {
    this.#options = options;
    const { addresses, logger } = options;
    this.#workers = new Map(addresses.map((address) => [address, { watch: new WorkerWatch({ address, logger, onStats: (stats) => this.#receive(address, stats) }), ceiling: new MemoryCeiling() }]));
  }

  start(): void {
    for (const [address, { watch }] of this.#workers) {
      this.#show(address, undefined);
      watch.start();
    }
  }

  stop(): void {
    for (const { watch } of this.#workers.values()) watch.stop();
  }

  /** The last answers of the workers that are there. */
  get stats(): StatsResponse[] {
    return [...this.#workers.values()].flatMap(({ watch }) => watch.stats ?? []);
  }

  /** Addresses of the workers that are there and take work. */
  get serving(): string[] {
    return [...this.#workers].filter(([, { watch }]) => watch.stats?.draining === false).map(([address]) => address);
  }

  /** Addresses of the workers that are not there. */
  get missing(): string[] {
    return [...this.#workers].filter(([, { watch }]) => !watch.stats).map(([address]) => address);
  }

  pidOf(address: string): number | undefined {
    return this.#workers.get(address)?.watch.stats?.pid;
  }

  /** Requests that run at all workers; undefined while no worker is there. */
  runningRequests(): number | undefined {
    const stats = this.stats;
    return stats.length === 0 ? undefined : stats.reduce((sum, each) => sum + each.runningRequests, 0);
  }

  /** Most requests that the memory of all workers takes; without a limit, no ceiling. */
  get memoryCeiling(): number {
    const there = [...this.#workers.values()].filter(({ watch }) => watch.stats);
    return there.length === 0 ? Number.POSITIVE_INFINITY : there.reduce((sum, { ceiling }) => sum + ceiling.value, 0);
  }

  #receive(address: string, stats: StatsResponse | undefined): void {
    if (stats) {
      const reading = { activeBytes: Number(stats.activeMemoryBytes), runningRequests: stats.runningRequests, limitBytes: this.#options.memoryLimitBytes(address) };
      this.#workers.get(address)?.ceiling.observe(reading);
    }
    this.#show(address, stats);
  }

  #show(worker: string, stats: StatsResponse | undefined): void {
    const { workerConnected, workerRunning, workerQueued, workerResidentMemory, workerActiveMemory } = this.#options.metrics;
    workerConnected.set({ worker }, stats ? 1 : 0);
    if (!stats) {
      for (const gauge of [workerRunning, workerQueued, workerResidentMemory, workerActiveMemory]) gauge.remove({ worker });
      return;
    }
    workerRunning.set({ worker }, stats.runningRequests);
    workerQueued.set({ worker }, stats.queuedRequests);
    workerResidentMemory.set({ worker }, Number(stats.residentMemoryBytes));
    workerActiveMemory.set({ worker }, Number(stats.activeMemoryBytes));
  }
}
