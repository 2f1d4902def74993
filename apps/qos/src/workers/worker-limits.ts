import { createServiceClient, type ServiceClient, type SetLimitsResponse, Worker } from '@mlx-serving/contracts';
import type { Logger } from '@mlx-serving/service-kit';

export interface WorkerLimitsOptions {
  /** Of the workers that are known now. */
  readonly addresses: () => readonly string[];
  /** The process that a worker is now; undefined while it is not there. */
  readonly pidOf: (address: string) => number | undefined;
  readonly logger: Logger;
}

/** What is known of one process of a worker. */
interface Known {
  readonly pid: number;
  readonly ownMaxBatch: number;
  readonly memoryLimitBytes: number;
  maxBatch: number;
}

const ANSWER_WITHIN_MS = 1_000;

/**
 * Makes the workers' own limits follow the gateways' (SPEC Q3). They are lent: a worker that hears nothing more goes
 * back to its own, and one that starts anew begins with them.
 */
export class WorkerLimits {
  readonly #options: WorkerLimitsOptions;
  readonly #clients = new Map<string, ServiceClient<typeof Worker>>();
  readonly #known = new Map<string, Known>();

  constructor(options: WorkerLimitsOptions) {
    this.#options = options;
  }

  /** 0 while it is not known, and when the worker has none. */
  memoryLimitBytes(address: string): number {
    return this.#known.get(address)?.memoryLimitBytes ?? 0;
  }

  /**
   * Every worker runs so many times as many requests at a time as by its own setting. Never rejects.
   * @param ttlMs how long without another call
   */
  async apply(share: number, ttlMs: number): Promise<void> {
    const addresses = this.#options.addresses();
    for (const [address, client] of this.#clients) if (!addresses.includes(address)) this.#forget(address, client);
    await Promise.all(addresses.map((address) => this.#applyTo(address, this.#clientOf(address), share, ttlMs).catch((error: Error) => this.#options.logger.warn({ worker: address, problem: error.message }, 'the limits of a worker were not set'))));
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  #clientOf(address: string): ServiceClient<typeof Worker> {
    const client = this.#clients.get(address) ?? createServiceClient(Worker, address, { defaultDeadlineMs: ANSWER_WITHIN_MS });
    this.#clients.set(address, client);
    return client;
  }

  #forget(address: string, client: ServiceClient<typeof Worker>): void {
    client.close();
    this.#clients.delete(address);
    this.#known.delete(address);
  }

  async #applyTo(address: string, client: ServiceClient<typeof Worker>, share: number, ttlMs: number): Promise<void> {
    const pid = this.#options.pidOf(address);
    if (pid === undefined) return;
    const known = this.#knownOf(address, pid) ?? this.#learn(address, pid, await client.setLimits({}));
    const maxBatch = Math.max(1, Math.round(known.ownMaxBatch * share));
    const isOwn = maxBatch === known.ownMaxBatch;
    if (isOwn && known.maxBatch === maxBatch) return;
    const before = known.maxBatch;
    known.maxBatch = (await client.setLimits({ maxBatch, ttlMs: isOwn ? 0 : ttlMs })).maxBatch;
    if (known.maxBatch !== before) this.#options.logger.info({ worker: address, maxBatch: known.maxBatch }, 'the limit of a worker was set');
  }

  #knownOf(address: string, pid: number): Known | undefined {
    const known = this.#known.get(address);
    return known?.pid === pid ? known : undefined;
  }

  #learn(address: string, pid: number, { maxBatch, ownMaxBatch, memoryLimitBytes }: SetLimitsResponse): Known {
    const known = { pid, ownMaxBatch, memoryLimitBytes: Number(memoryLimitBytes), maxBatch };
    this.#known.set(address, known);
    return known;
  }
}
