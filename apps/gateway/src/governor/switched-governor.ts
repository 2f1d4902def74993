import type { StreamReport } from '@mlx-serving/contracts';
import { FixedLimit, GradientLimit, type LimitAlgorithm, type LimitBounds, PidLimit, type RuntimeFile } from '@mlx-serving/policy';
import { ConcurrencyLimit } from '../admission/concurrency-limit.ts';
import type { Governor, LimitLease } from '../admission/governor.ts';

export const GOVERNOR_KINDS = ['fixed', 'gradient', 'pid'] as const;

export type GovernorKind = (typeof GOVERNOR_KINDS)[number];

export interface SwitchedGovernorOptions {
  /** The settings in force. */
  readonly settings: () => RuntimeFile['governor'];
  /** Whether the flag adaptive_governor is on for this gateway. */
  readonly adaptive: () => boolean;
  /** Requests at the workers now. */
  readonly inflight: () => number;
  /** Called when the limit changes. */
  readonly onChange: (limit: number) => void;
  /** Called with the one that governs from now on, at first too. */
  readonly onSwitch?: (kind: GovernorKind) => void;
  readonly now?: () => number;
}

/**
 * The limit by the setting, by the gradient, or by the PID controller, as settings and flag say, asked at every finished request.
 * Whichever takes over begins where the one before it was. What runtime.yaml or a lease of qos says is the ceiling of all (SPEC Q7).
 */
export class SwitchedGovernor implements Governor {
  readonly #options: SwitchedGovernorOptions;
  readonly #ceiling: ConcurrencyLimit;
  #kind: GovernorKind;
  #algorithm: LimitAlgorithm;

  constructor(options: SwitchedGovernorOptions) {
    this.#options = options;
    this.#ceiling = new ConcurrencyLimit(options.settings().max_concurrent_streams, () => this.#bound());
    // The flags are not known yet: the setting holds until the first request has finished.
    this.#kind = 'fixed';
    this.#algorithm = this.#create(this.#kind, this.#ceiling.value);
    options.onSwitch?.(this.#kind);
  }

  get kind(): GovernorKind {
    return this.#kind;
  }

  limit(): number {
    return Math.max(1, Math.min(this.#algorithm.limit, this.#ceiling.value));
  }

  configure(setting: number): void {
    this.#ceiling.configure(setting);
  }

  lend(lease: LimitLease): void {
    this.#ceiling.lend(lease);
  }

  onSample({ ttftMs, queuedMs }: StreamReport): void {
    const before = this.limit();
    this.#follow();
    if (ttftMs !== undefined) {
      const now = this.#options.now ?? (() => performance.now());
      // The one that has just finished was there too.
      this.#algorithm.observe({ serviceMs: ttftMs - (queuedMs ?? 0), inflight: this.#options.inflight() + 1, nowMs: now() });
    }
    if (this.limit() !== before) this.#options.onChange(this.limit());
  }

  stop(): void {
    this.#ceiling.stop();
  }

  #follow(): void {
    const kind = this.#options.adaptive() ? 'pid' : this.#options.settings().algorithm;
    if (kind === this.#kind) return;
    const start = this.limit();
    this.#kind = kind;
    this.#algorithm = this.#create(kind, start);
    this.#options.onSwitch?.(kind);
  }

  #create(kind: GovernorKind, start: number): LimitAlgorithm {
    if (kind === 'gradient') return new GradientLimit(this.#bounds(), start);
    if (kind === 'pid') return new PidLimit(this.#bounds(), { targetMs: this.#options.settings().target_ttft_ms }, start);
    return new FixedLimit(this.#bounds(), start);
  }

  #bound(): void {
    this.#algorithm.setBounds(this.#bounds());
    this.#options.onChange(this.limit());
  }

  #bounds(): LimitBounds {
    const greatest = this.#ceiling.value;
    return { least: Math.min(greatest, this.#options.settings().min_concurrent_streams), greatest };
  }
}
