import { setTimeout as delay } from 'node:timers/promises';
import { BaselineSample, type CanaryFile, Evidence, judge, STATISTICAL_TRIGGERS, type StatisticalTrigger, type Variant } from '@mlx-serving/policy';

type Trigger = CanaryFile['rollback']['triggers'][number];

export interface RollbackControllerOptions {
  readonly enabled: boolean;
  readonly cooldownMs: number;
  readonly gradual: boolean;
  readonly triggers: readonly Trigger[];
  /** The canary's share of the units, 0 to 100; needed for verdicts from `observe`. Default: 10. */
  readonly percentage?: number;
  /** Moves the traffic, such as `(percentage) => router.setPercentage(percentage)`. */
  readonly setPercentage?: (percentage: number) => void | Promise<void>;
  /** How long each step of a gradual rollback stays. Default: 30000. */
  readonly stepMs?: number;
  /** Unix time in milliseconds. */
  readonly now?: () => number;
}

/** Rates that were measured elsewhere. */
export interface CanaryRates {
  readonly canaryErrorRate: number;
  readonly baselineErrorRate: number;
  readonly canaryLatency: number;
  readonly baselineLatency: number;
}

export interface ObservedRequest {
  readonly variant: Variant;
  readonly failed: boolean;
  readonly latencyMs: number;
  /** When it ended, in milliseconds. Given, a canary must be slow over several blocks of 5 s, and not in one spell. */
  readonly atMs?: number;
}

export interface RollbackReason {
  readonly reason: string;
  readonly severity: Trigger['severity'];
}

export interface RollbackRecord extends RollbackReason {
  readonly atMs: number;
  readonly steps: readonly number[];
}

const STEPS = [10, 5, 0];
const MOST_HISTORY = 100;

/**
 * Decides when to take a canary back, and does it. Feed it with `observe` and ask without rates: then the verdict is the
 * always-valid test of SPEC 6. Asked with rates alone it can only compare these with the thresholds, as a bare ratio.
 */
export class RollbackController {
  readonly #options: RollbackControllerOptions;
  readonly #evidence: Evidence;
  #history: RollbackRecord[] = [];
  #last: RollbackReason | undefined;

  constructor(options: RollbackControllerOptions) {
    this.#options = options;
    this.#evidence = new Evidence((options.percentage ?? 10) / 100, new BaselineSample());
  }

  /** Takes in one finished request. */
  observe({ variant, failed, latencyMs, atMs }: ObservedRequest): void {
    this.#evidence.observe({ canary: variant === 'canary', failed, values: failed ? [] : [latencyMs], atMs });
  }

  /** @returns why it should be rolled back, or null; always null during the cooldown */
  async shouldRollback(rates?: CanaryRates): Promise<RollbackReason | null> {
    if (!this.#options.enabled || this.#isCooling) return null;
    this.#last = rates ? this.#byRates(rates) : this.#byEvidence();
    return this.#last ?? null;
  }

  /** Moves the share to 0: at once, or by 10, 5 and 0 when it is gradual and the reason is not critical. */
  async executeRollback(): Promise<RollbackRecord> {
    const cause = this.#last ?? { reason: 'manual', severity: 'warning' as const };
    const gradual = this.#options.gradual && cause.severity !== 'critical';
    const steps = gradual ? STEPS.filter((step) => step < (this.#options.percentage ?? 10)) : [0];
    const record = { ...cause, atMs: this.#now(), steps };
    this.#history = [...this.#history, record].slice(-MOST_HISTORY);
    for (const [index, step] of steps.entries()) {
      if (index > 0) await delay(this.#options.stepMs ?? 30_000);
      await this.#options.setPercentage?.(step);
    }
    return record;
  }

  /** Oldest first, at most 100. */
  getRollbackHistory(): readonly RollbackRecord[] {
    return this.#history;
  }

  get #isCooling(): boolean {
    const last = this.#history.at(-1);
    return last !== undefined && this.#now() - last.atMs < this.#options.cooldownMs;
  }

  #byEvidence(): RollbackReason | undefined {
    const triggers = this.#options.triggers.flatMap(({ name, threshold }) => (name in STATISTICAL_TRIGGERS ? [{ name: name as StatisticalTrigger, threshold }] : []));
    const { findings, failedAtOnce } = judge(this.#evidence, { triggers });
    if (failedAtOnce) return { reason: 'failed_at_once', severity: 'critical' };
    const fired = findings.find((finding) => finding.fired)?.name;
    return this.#reason(fired);
  }

  #byRates({ canaryErrorRate, baselineErrorRate, canaryLatency, baselineLatency }: CanaryRates): RollbackReason | undefined {
    const exceeds: Partial<Record<Trigger['name'], (threshold: number) => boolean>> = {
      high_error_rate: (threshold) => canaryErrorRate > threshold * baselineErrorRate,
      high_latency: (threshold) => canaryLatency > threshold * baselineLatency,
    };
    return this.#reason(this.#options.triggers.find(({ name, threshold }) => exceeds[name]?.(threshold))?.name);
  }

  #reason(name: Trigger['name'] | undefined): RollbackReason | undefined {
    const trigger = this.#options.triggers.find((each) => each.name === name);
    return trigger && { reason: trigger.name, severity: trigger.severity };
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}
