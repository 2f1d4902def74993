import type { ServedModel } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import type { WorkerPool } from '../workers/worker-pool.ts';

export type ModelEntry = Pick<ServedModel, 'id' | 'created'>;

/** The models that the serving workers of all pools have, each once, by name. */
export class ModelService {
  readonly #pools: Record<Variant, WorkerPool>;

  constructor(pools: Record<Variant, WorkerPool>) {
    this.#pools = pools;
  }

  async list(): Promise<ModelEntry[]> {
    const workers = Object.values(this.#pools).flatMap((pool) => pool.serving);
    const models = (await Promise.all(workers.map((worker) => worker.models()))).flat();
    const created = new Map<string, bigint>();
    for (const { id, loadedAt } of models) {
      const known = created.get(id);
      if (known === undefined || loadedAt < known) created.set(id, loadedAt);
    }
    return [...created].map(([id, at]) => ({ id, created: at })).sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}
