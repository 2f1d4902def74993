import { bucketByKey, FINE_BUCKETS, isInRollout } from '@mlx-serving/hashing';
import type { CanaryFile, Variant } from '@mlx-serving/policy';

export type CanaryRouterOptions = Omit<CanaryFile['canary'], 'hashSeed' | 'model' | 'shadow'> & {
  /** Hashed with the key. Default: canary, as the gateway's. */
  readonly hashSeed?: string;
};

export interface RouteDecision {
  readonly variant: Variant;
  /** Whether the decision was remembered. */
  readonly cached: boolean;
}

export interface CanaryRouterStats {
  readonly totalRequests: number;
  readonly baselineRequests: number;
  readonly canaryRequests: number;
  readonly targetPercentage: number;
  readonly actualPercentage: number;
  readonly cacheHitRate: number;
  readonly cacheSize: number;
}

/** Splits traffic as the gateway does: the same key always the same way, and a greater share moves nobody back (SPEC C1). */
export class CanaryRouter {
  readonly #options: CanaryRouterOptions;
  readonly #cache = new Map<string, Variant>();
  #percentage: number;
  #requests = { baseline: 0, canary: 0 };
  #hits = 0;

  constructor(options: CanaryRouterOptions) {
    this.#options = options;
    this.#percentage = options.rolloutPercentage;
  }

  /** @param key the value of `hashKey`: a user id, a request id */
  route(key: string): RouteDecision {
    const remembered = this.#recall(key);
    const variant = remembered ?? this.#decide(key);
    if (remembered) this.#hits++;
    else this.#remember(key, variant);
    this.#requests[variant]++;
    return { variant, cached: remembered !== undefined };
  }

  /** Takes another share, 0 to 100 in steps of 0.001. Remembered decisions are forgotten. */
  setPercentage(percentage: number): void {
    this.#percentage = percentage;
    this.#cache.clear();
  }

  getStats(): CanaryRouterStats {
    const { baseline, canary } = this.#requests;
    const total = baseline + canary;
    return {
      totalRequests: total,
      baselineRequests: baseline,
      canaryRequests: canary,
      targetPercentage: this.#options.enabled ? this.#percentage : 0,
      actualPercentage: total === 0 ? 0 : (100 * canary) / total,
      cacheHitRate: total === 0 ? 0 : this.#hits / total,
      cacheSize: this.#cache.size,
    };
  }

  #decide(key: string): Variant {
    const { enabled, strategy, hashSeed = 'canary' } = this.#options;
    if (!enabled) return 'baseline';
    const place = strategy === 'random' ? Math.floor(Math.random() * FINE_BUCKETS) : bucketByKey(key, hashSeed);
    return isInRollout(place, this.#percentage) ? 'canary' : 'baseline';
  }

  #recall(key: string): Variant | undefined {
    const variant = this.#cache.get(key);
    if (variant === undefined) return undefined;
    // The one that was used last is forgotten last.
    this.#cache.delete(key);
    this.#cache.set(key, variant);
    return variant;
  }

  #remember(key: string, variant: Variant): void {
    if (!this.#options.enableCache || this.#options.strategy === 'random') return;
    this.#cache.set(key, variant);
    if (this.#cache.size <= this.#options.cacheSize) return;
    const [oldest] = this.#cache.keys();
    if (oldest !== undefined) this.#cache.delete(oldest);
  }
}
