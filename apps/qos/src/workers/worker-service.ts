import type { StatsResponse } from '@mlx-serving/contracts';
import { type Logger, WorkerWatch } from '@mlx-serving/service-kit';
import type { QosMetrics } from '../metrics.ts';

/** Watches every configured worker and shows what they say as metrics, by address. */
export class WorkerService {
  readonly #watches: ReadonlyMap<string, WorkerWatch>;
  readonly #metrics: QosMetrics;

  constructor(addresses: readonly string[], metrics: QosMetrics, logger: Logger) {
    this.#metrics = metrics;
    this.#watches = new Map(
      addresses.map((address) => [address, new WorkerWatch({ address, logger, onStats: (stats) => this.#show(address, stats) })]),
    );
  }

  start(): void {
    for (const [address, watch] of this.#watches) {
      this.#show(address, undefined);
      watch.start();
    }
  }

  stop(): void {
    for (const watch of this.#watches.values()) watch.stop();
  }

  /** The last answers of the workers that are there. */
  get stats(): StatsResponse[] {
    return [...this.#watches.values()].flatMap((watch) => watch.stats ?? []);
  }

  /** Addresses of the workers that are not there. */
  get missing(): string[] {
    return [...this.#watches].filter(([, watch]) => !watch.stats).map(([address]) => address);
  }

  /** Requests that run at all workers; undefined while no worker is there. */
  runningRequests(): number | undefined {
    const stats = this.stats;
    return stats.length === 0 ? undefined : stats.reduce((sum, each) => sum + each.runningRequests, 0);
  }

  #show(worker: string, stats: StatsResponse | undefined): void {
    const { workerConnected, workerRunning, workerQueued, workerResidentMemory, workerActiveMemory } = this.#metrics;
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
