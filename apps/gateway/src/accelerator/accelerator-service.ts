import type { AddToAllowlistRequest, PrefixCacheStats, SpeculationStats, StatsResponse, TtftStatsResponse, WarmQueueStats } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import type { WorkerAccelerator } from '../workers/worker-accelerator.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';

type Counts<T> = Omit<T, '$typeName' | '$unknown'>;
export type AcceleratorStats = Pick<TtftStatsResponse, 'enabled' | 'workers'> & {
  readonly warmQueue: Counts<WarmQueueStats>;
  readonly speculation: Counts<SpeculationStats>;
  readonly prefixCache: Counts<PrefixCacheStats>;
};

/** The TTFT accelerators of all serving workers, as one (SPEC T5). */
export class AcceleratorService {
  readonly #pools: Record<Variant, WorkerPool>;

  constructor(pools: Record<Variant, WorkerPool>) {
    this.#pools = pools;
  }

  /** The sums over all workers that answer in time. */
  async stats(): Promise<AcceleratorStats> {
    const answers = await Promise.all(this.#accelerators.map((accelerator) => accelerator.stats()));
    const all = answers.filter((stats): stats is StatsResponse => stats !== undefined);
    return {
      enabled: all.some(({ acceleratorEnabled }) => acceleratorEnabled),
      workers: all.length,
      warmQueue: sums(all.map(({ warmQueue }) => warmQueue), { size: 0, maxSize: 0, queued: 0n, warmed: 0n, prepared: 0n, expired: 0n, overflowed: 0n }),
      speculation: sums(all.map(({ speculation }) => speculation), { hits: 0n, misses: 0n, candidates: 0n, allowlisted: 0n, predictions: 0n, predictionsRight: 0n, prepared: 0n }),
      prefixCache: sums(all.map(({ prefixCache }) => prefixCache), { bytes: 0n, entries: 0n, pinned: 0n, evictions: 0n, hits: 0n, misses: 0n, reusedTokens: 0n }),
    };
  }

  /** @returns how many workers have taken the prompt */
  async allow({ model, input }: Pick<AddToAllowlistRequest, 'model' | 'input'>): Promise<number> {
    const taken = await Promise.all(this.#accelerators.map((accelerator) => accelerator.allow({ model, input })));
    return taken.filter(Boolean).length;
  }

  get #accelerators(): WorkerAccelerator[] {
    const workers = Object.values(this.#pools).flatMap((pool) => pool.serving);
    return workers.flatMap(({ accelerator }) => (accelerator ? [accelerator] : []));
  }
}

function sums<T extends Record<string, number | bigint>>(parts: readonly (Partial<T> | undefined)[], zero: T): T {
  const add = (name: string): number | bigint => {
    const values = parts.map((part) => part?.[name]).filter((value) => value !== undefined);
    return typeof zero[name] === 'bigint' ? values.reduce<bigint>((sum, value) => sum + BigInt(value), 0n) : values.reduce<number>((sum, value) => sum + Number(value), 0);
  };
  return Object.fromEntries(Object.keys(zero).map((name) => [name, add(name)])) as T;
}
