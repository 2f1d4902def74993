import type { EvaluationContext } from '@mlx-serving/evaluation';

const MAX_CONTEXTS = 10_000;

/** The contexts that were decided about lately, the last of each key. Only in memory, and never sent anywhere. */
export class RecentContexts {
  readonly #contexts = new Map<string, EvaluationContext>();
  readonly #most: number;

  /** @param most beyond it the key that was not seen for longest is forgotten */
  constructor(most = MAX_CONTEXTS) {
    this.#most = most;
  }

  add(key: string, attributes: Record<string, string>): void {
    this.#contexts.delete(key);
    this.#contexts.set(key, { key, attributes });
    if (this.#contexts.size > this.#most) this.#contexts.delete(this.#contexts.keys().next().value!);
  }

  get all(): EvaluationContext[] {
    return [...this.#contexts.values()];
  }
}
