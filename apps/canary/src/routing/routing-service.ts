import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type RoutingTable, RoutingTableSchema } from '@mlx-serving/contracts';
import type { CanaryFile, VariantReason } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { RoutingStore } from './routing-store.ts';

export interface RoutingServiceOptions {
  readonly store: RoutingStore;
  /** Whether a worker of the canary is known: configured here, or at a gateway. */
  readonly hasCanaryWorker: () => boolean;
  /** Called with each table that differs from the one before, its revision included. */
  readonly onTable: (table: RoutingTable) => void;
  readonly logger: Logger;
  /** How long it waits before it tries a store again that was not reachable, in milliseconds. Default: 1000. */
  readonly retryMs?: number;
}

/** So long a gateway obeys a table without hearing of this service: below the 5 s that a rollback may take with links dead. */
const LEASE_MS = 4_500;
/** How often gateways hear that the table still holds. */
export const LEASE_BEAT_MS = 1_000;

/** A table without its revision. */
type TableContent = ReturnType<typeof contentOf>;

const NO_SETTINGS: CanaryFile['canary'] = {
  enabled: false,
  rolloutPercentage: 0,
  strategy: 'hash',
  hashKey: 'user_id',
  hashSeed: '',
  enableCache: false,
  cacheSize: 1,
  model: '',
  shadow: { percentage: 0, maxConcurrent: 1 },
};

/**
 * Makes the routing table from `config/canary.yaml` and gives it a revision that only grows (SPEC C1). While the store
 * is not reachable it counts on from what it knows, gateways' own revisions included, and settles when the store is back.
 */
export class RoutingService {
  readonly #options: RoutingServiceOptions;
  #settings: CanaryFile['canary'] | undefined;
  #moveUnstarted = false;
  #table = create(RoutingTableSchema);
  #fingerprint = '';
  #known = false;
  #problem: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** How often `lower` was called. */
  #lowered = 0;
  #stopped = false;
  #queue: Promise<void> = Promise.resolve();

  constructor(options: RoutingServiceOptions) {
    this.#options = options;
  }

  get table(): RoutingTable {
    return this.#table;
  }

  /** Why the canary gets no traffic; undefined while it is enabled. */
  get disabledReason(): VariantReason | undefined {
    if (!this.#settings?.enabled) return 'CANARY_DISABLED';
    return this.#options.hasCanaryWorker() ? undefined : 'NO_CANARY_WORKER';
  }

  /** Why the revision is not stored; undefined while it is. */
  get storeProblem(): string | undefined {
    return this.#problem;
  }

  /**
   * Takes other settings. Never rejects for the store's sake.
   * @param moveUnstarted at 0 %: requests of the canary that have no token yet start anew at the baseline
   */
  apply(settings: CanaryFile['canary'], moveUnstarted = false): Promise<void> {
    return this.#enqueue(() => {
      this.#settings = settings;
      this.#moveUnstarted = moveUnstarted;
      return this.#settle(0n);
    });
  }

  /**
   * Lowers the share at once, before the store is asked: a rollback waits for nobody. `apply` it as well, to have it stored.
   * @param moveUnstarted see `apply`
   */
  lower(settings: CanaryFile['canary'], moveUnstarted: boolean): void {
    this.#settings = settings;
    this.#moveUnstarted = moveUnstarted;
    this.#lowered++;
    const content = this.#content();
    const fingerprint = fingerprintOf(content);
    if (fingerprint !== this.#fingerprint) this.#enforce(content, fingerprint, this.#table.revision + 1n);
  }

  /**
   * Hears which revision a gateway holds. One above ours, or beside ours before we know what the store has, comes from
   * another life of this service: the table goes above it, or the gateway would take it for old.
   */
  heard(revision: bigint): Promise<void> {
    return this.#enqueue(async () => {
      const foreign = revision > this.#table.revision || (!this.#known && revision === this.#table.revision);
      if (foreign) await this.#settle(revision + 1n);
    });
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    this.#queue = this.#queue.then(step);
    return this.#queue;
  }

  async #settle(above: bigint): Promise<void> {
    const content = this.#content();
    const fingerprint = fingerprintOf(content);
    const lowered = this.#lowered;
    const present = this.#table.revision;
    const changed = fingerprint !== this.#fingerprint;
    const atLeast = [present + (changed && present > 0n ? 1n : 0n), above].reduce((left, right) => (left > right ? left : right));
    const revision = await this.#askStore(fingerprint, atLeast);
    // What the store was asked about has been overtaken.
    if (lowered !== this.#lowered) return this.#settle(above);
    if (this.#stopped || (!changed && revision === present)) return;
    this.#known ||= above > 0n;
    this.#enforce(content, fingerprint, revision);
  }

  #enforce(content: TableContent, fingerprint: string, revision: bigint): void {
    this.#fingerprint = fingerprint;
    this.#table = create(RoutingTableSchema, { ...content, revision });
    this.#options.logger.info({ ...content, revision: Number(revision), disabledReason: this.disabledReason }, 'routing table in force');
    this.#options.onTable(this.#table);
  }

  async #askStore(fingerprint: string, atLeast: bigint): Promise<bigint> {
    clearTimeout(this.#retry);
    try {
      const revision = await this.#options.store.settle(fingerprint, atLeast);
      this.#problem = undefined;
      this.#known = true;
      return revision;
    } catch (error) {
      this.#problem = `the store is not reachable (${error instanceof Error ? error.message : String(error)}); the revision is not stored`;
      if (!this.#stopped) this.#retry = setTimeout(() => void this.#enqueue(() => this.#settle(0n)), this.#options.retryMs ?? 1_000);
      return atLeast > 0n ? atLeast : 1n;
    }
  }

  #content(): TableContent {
    return contentOf(this.#settings ?? NO_SETTINGS, this.#moveUnstarted);
  }
}

function contentOf({ enabled, rolloutPercentage, strategy, hashKey, hashSeed, model, enableCache, cacheSize, shadow }: CanaryFile['canary'], moveUnstarted: boolean) {
  return {
    enabled,
    rolloutPercentage,
    strategy,
    hashKey,
    hashSeed,
    canaryModel: model,
    cacheSize: enableCache ? cacheSize : 0,
    shadowPercentage: shadow.percentage,
    shadowConcurrency: shadow.maxConcurrent,
    leaseMs: LEASE_MS,
    moveUnstarted,
  };
}

function fingerprintOf(content: TableContent): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}
