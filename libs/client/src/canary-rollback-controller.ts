import { setTimeout as delay } from 'node:timers/promises';
import { hash32 } from '@mlx-serving/hashing';
import { BaselineSample, type CanaryFile, Evidence, exitsTooOften, judge, LEAST_LEAK_SAMPLES, type MemorySample, memorySlope, MOST_LEAK_SAMPLES, STATISTICAL_TRIGGERS, type StatisticalTrigger, type Variant } from '@mlx-serving/policy';

type Trigger = CanaryFile['rollback']['triggers'][number];

export interface RollbackControllerOptions {
  readonly enabled: boolean;
  readonly cooldownMs: number;
  readonly gradual: boolean;
  /** `memory_leak` needs `observeMemory`, and `crash_rate` needs `observeExit`. */
  readonly triggers: readonly Trigger[];
  /** Excess bad requests at which the canary is stopped before the test is sure. Default: 100. */
  readonly blastRadius?: number;
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
  /**
   * What was hashed to route it, such as the user, when that has many requests: it counts once for each kind of event.
   * Counting all requests of users who keep their variant would fire falsely (SPEC 6). Default: each request is one.
   */
  readonly unit?: string;
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
  readonly #baseline = new BaselineSample();
  #percentage: number;
  #evidence: Evidence;
  #memory: MemorySample[] = [];
  #exits = 0;
  /** The canary's requests at shares before this one. */
  #requestsBefore = 0;
  #history: RollbackRecord[] = [];
  #last: RollbackReason | undefined;

  constructor(options: RollbackControllerOptions) {
    this.#options = options;
    this.#percentage = options.percentage ?? 10;
    this.#evidence = new Evidence(this.#percentage / 100, this.#baseline);
  }

  /** Says that the share was moved, such as to the next stage: what was found is carried on. After a rollback everything begins anew. */
  setPercentage(percentage: number): void {
    if (percentage === this.#percentage) return;
    this.#requestsBefore += this.#evidence.requests.canary;
    this.#percentage = percentage;
    this.#evidence = this.#evidence.next(percentage / 100);
  }

  /** Takes in how much memory the canary's process has, some seconds apart. */
  observeMemory(megabytes: number, atMs = this.#now()): void {
    this.#memory = [...this.#memory, { megabytes, atMs }].slice(-MOST_LEAK_SAMPLES);
  }

  /** Takes in that the canary's process has exited. */
  observeExit(): void {
    this.#exits++;
    this.#memory = [];
  }

  /** Takes in one finished request. */
  observe({ variant, failed, latencyMs, unit, atMs }: ObservedRequest): void {
    this.#evidence.observe({ canary: variant === 'canary', failed, unit: unit === undefined ? undefined : digitsOf(unit), values: failed ? [] : [latencyMs], atMs });
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
    const steps = gradual ? STEPS.filter((step) => step < this.#percentage) : [0];
    const record = { ...cause, atMs: this.#now(), steps };
    this.#history = [...this.#history, record].slice(-MOST_HISTORY);
    this.#beginAnew();
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

  /** What has been acted on is no evidence against the next canary. */
  #beginAnew(): void {
    this.#last = undefined;
    this.#evidence = new Evidence(this.#percentage / 100, this.#baseline);
    [this.#memory, this.#exits, this.#requestsBefore] = [[], 0, 0];
  }

  #byEvidence(): RollbackReason | undefined {
    const triggers = this.#options.triggers.flatMap(({ name, threshold }) => (name in STATISTICAL_TRIGGERS ? [{ name: name as StatisticalTrigger, threshold }] : []));
    const { blastRadius } = this.#options;
    const { findings, failedAtOnce, blastRadiusExceeded } = judge(this.#evidence, { triggers, ...(blastRadius === undefined ? {} : { blastRadius }) });
    if (failedAtOnce) return { reason: 'failed_at_once', severity: 'critical' };
    if (blastRadiusExceeded) return { reason: 'blast_radius', severity: 'critical' };
    const fired = findings.find((finding) => finding.fired)?.name ?? this.#options.triggers.find((trigger) => this.#isWatchedAndBad(trigger))?.name;
    return this.#reason(fired);
  }

  #isWatchedAndBad({ name, threshold }: Trigger): boolean {
    if (name === 'memory_leak') return this.#memory.length >= LEAST_LEAK_SAMPLES && (memorySlope(this.#memory)?.low ?? 0) > threshold;
    return name === 'crash_rate' && exitsTooOften({ exits: this.#exits, requests: this.#requestsBefore + this.#evidence.requests.canary }, threshold);
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

/** A unit as the evidence remembers it: 16 hexadecimal digits. */
function digitsOf(unit: string): string {
  return [unit, `${unit}:unit`].map((text) => hash32(text).toString(16).padStart(8, '0')).join('');
}
