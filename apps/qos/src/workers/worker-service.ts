import type { StatsResponse } from '@mlx-serving/contracts';
import { MemoryCeiling } from '@mlx-serving/policy';
import { type Logger, WorkerWatch } from '@mlx-serving/service-kit';
import type { QosMetrics } from '../metrics.ts';

export interface WorkerServiceOptions {
  /** Those that are configured, by pool. */
  readonly baseline: readonly string[];
  readonly canary: readonly string[];
  /** The memory that a worker may take; 0 is no limit. */
  readonly memoryLimitBytes: (address: string) => number;
  readonly metrics: QosMetrics;
  readonly logger: Logger;
  /** A clock in milliseconds. */
  readonly now: () => number;
}

interface Watched {
  readonly watch: WorkerWatch;
  readonly ceiling: MemoryCeiling;
  readonly isCanary: boolean;
  /** When a report last named it; undefined for one that is configured. */
  heardAt: number | undefined;
}

/** Most workers that are known from reports alone. */
const MOST_HEARD = 200;
/** One that is gone and that no report names for so long is forgotten. */
const FORGET_AFTER_MS = 300_000;
const ADDRESS = /^[^/\s]+:\d{1,5}$/;

/**
 * Watches every worker, those that are configured and those that have joined a gateway, which reports name; shows what they say as
 * metrics, by address, and learns what their memory takes.
 */
export class WorkerService {
  readonly #workers = new Map<string, Watched>();
  readonly #options: WorkerServiceOptions;
  #started = false;

  constructor(options: WorkerServiceOptions) {
    this.#options = options;
    for (const address of options.baseline) this.#add(address, false, undefined);
    for (const address of options.canary) if (!this.#workers.has(address)) this.#add(address, true, undefined);
  }

  start(): void {
    this.#started = true;
    for (const [address, watched] of this.#workers) this.#begin(address, watched);
  }

  stop(): void {
    this.#started = false;
    for (const { watch } of this.#workers.values()) watch.stop();
  }

  /** A report names a worker: one that is not known has joined a gateway. Servers of other kinds, which have no statistics, are left out. */
  heard(address: string, variant: string): void {
    const known = this.#workers.get(address);
    if (known?.heardAt !== undefined) known.heardAt = this.#options.now();
    if (known || !this.#started || !ADDRESS.test(address)) return;
    const heard = [...this.#workers.values()].filter(({ heardAt }) => heardAt !== undefined).length;
    if (heard < MOST_HEARD) this.#begin(address, this.#add(address, variant === 'canary', this.#options.now()));
  }

  /** Addresses of all that are known. */
  get addresses(): string[] {
    return [...this.#workers.keys()];
  }

  /** The last answers of the workers that are there. */
  get stats(): StatsResponse[] {
    return [...this.#workers.values()].flatMap(({ watch }) => watch.stats ?? []);
  }

  /** Addresses of the workers that are there and take work: of the baseline, and of the canary. */
  get pools(): [string[], string[]] {
    const of = (canary: boolean): string[] => [...this.#workers].filter(([, { watch, isCanary }]) => isCanary === canary && watch.stats?.draining === false).map(([address]) => address);
    return [of(false), of(true)];
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

  #add(address: string, isCanary: boolean, heardAt: number | undefined): Watched {
    const { logger } = this.#options;
    const watched = { watch: new WorkerWatch({ address, logger, onStats: (stats) => this.#receive(address, stats) }), ceiling: new MemoryCeiling(), isCanary, heardAt };
    this.#workers.set(address, watched);
    return watched;
  }

  #begin(address: string, { watch }: Watched): void {
    this.#show(address, undefined);
    watch.start();
  }

  /** @returns whether it was one that had joined, and has been gone for long */
  #forgets(address: string): boolean {
    const { heardAt, watch } = this.#workers.get(address) ?? {};
    if (heardAt === undefined || this.#options.now() - heardAt < FORGET_AFTER_MS) return false;
    watch?.stop();
    this.#workers.delete(address);
    this.#show(address, undefined);
    this.#options.metrics.workerConnected.remove({ worker: address });
    return true;
  }

  #receive(address: string, stats: StatsResponse | undefined): void {
    if (!stats && this.#forgets(address)) return;
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
