import { type Burn, ErrorBudget, type KeptBudget } from './error-budget.ts';
import { FRESH, isEnough, lookAt, type Measurement, measureSlo, remember, type SloMemory, type Verdict } from './judge-slo.ts';
import { MetricWindow, type RequestSample } from './metric-window.ts';
import type { QosMonitorSettings, Slo, SloPolicy } from './slo-policy.ts';

export interface SloVerdict {
  readonly policy: string;
  readonly slo: string;
  readonly metric: Slo['metric'];
  readonly severity: Slo['severity'];
  readonly verdict: Verdict;
  readonly threshold: number;
  readonly windowMs: number;
  readonly samples: number;
  /** What was measured; absent without data. */
  readonly value?: number;
  /** What it is at least (for throughput: at most), at 95 %. */
  readonly bound?: number;
  /** Of the error budget; empty without an objective. */
  readonly burn: readonly Burn[];
}

interface Kept {
  readonly slo: Slo;
  readonly budget: ErrorBudget | undefined;
  memory: SloMemory;
}

/** Rolling windows of what happened, and what they mean for every SLO of every enabled policy (SPEC Q1, Q4). */
export class SloEvaluator {
  readonly #now: () => number;
  #settings: QosMonitorSettings;
  #windows = new Map<number, MetricWindow>();
  #workerWindows = new Map<string, Map<number, MetricWindow>>();
  #slos = new Map<string, Kept>();
  /** Enabled ones, highest priority first. */
  #policies: readonly SloPolicy[] = [];
  #budgeted: readonly { slo: Slo; budget: ErrorBudget }[] = [];
  /** Of SLOs that are not in force now: off by a flag, or not known yet. */
  #budgetsLeft: Readonly<Record<string, KeptBudget>> = {};
  #heardAt: number;

  /** @param now the clock in milliseconds */
  constructor(settings: QosMonitorSettings, now: () => number) {
    this.#now = now;
    this.#settings = settings;
    this.#heardAt = now();
    this.configure(settings);
  }

  get policies(): readonly SloPolicy[] {
    return this.#policies;
  }

  /** Goes on with other policies. What has not changed keeps its samples and its memory. */
  configure(settings: QosMonitorSettings): void {
    this.#settings = settings;
    this.#budgetsLeft = this.budgets;
    const lengths = [settings.evaluator.window_ms, ...settings.policy_store.policies.flatMap(({ slos }) => slos.map(({ window_ms }) => window_ms))];
    this.#windows = new Map(lengths.map((length) => [length, this.#kept(this.#windows, length)]));
    this.#workerWindows.clear();
    this.#policies = settings.policy_store.policies.filter((policy) => policy.enabled).sort((left, right) => right.priority - left.priority);
    this.#slos = new Map(this.#policies.flatMap((policy) => policy.slos.map((slo) => [keyOf(policy, slo), this.#keptSlo(keyOf(policy, slo), slo)])));
    this.#budgeted = [...this.#slos.values()].flatMap(({ slo, budget }) => (budget ? [{ slo, budget }] : []));
  }

  /** Takes SLOs for violated until enough looks say otherwise: after a restart, those that something is still done for. */
  assumeViolated(policy: string, slo: string): void {
    const kept = this.#slos.get(`${policy} ${slo}`);
    if (kept) kept.memory = { looks: [], violated: true };
  }

  /** The error budgets by policy and SLO, and those of SLOs that are not in force as long as they say anything. */
  get budgets(): Readonly<Record<string, KeptBudget>> {
    const now = this.#now();
    const left = Object.entries(this.#budgetsLeft).filter(([, { slotMs, slots }]) => slots.some(([slot]) => slot * slotMs > now - LONGEST_LEFT_MS));
    const own = [...this.#slos].flatMap(([key, { slo, budget }]) => (budget ? [[budgetKey(key, slo), budget.keep(now)] as const] : []));
    return Object.fromEntries([...left.slice(-MOST_LEFT), ...own]);
  }

  /** Takes up error budgets that were kept before a restart. */
  takeUpBudgets(kept: Readonly<Record<string, KeptBudget>>): void {
    this.#budgetsLeft = { ...this.#budgetsLeft, ...kept };
    for (const [key, { slo, budget }] of this.#slos) this.#takeUp(key, slo, budget);
  }

  /** @returns false when one of its numbers was refused */
  add(sample: RequestSample): boolean {
    const now = this.#now();
    this.#heardAt = now;
    let taken = true;
    for (const window of this.#windows.values()) taken = window.add(sample) && taken;
    for (const window of this.#windowsOf(sample.worker)) window.add(sample);
    for (const { slo, budget } of this.#budgeted) {
      const good = isGood(slo, sample);
      if (good !== undefined) budget.add(good, now);
    }
    return taken;
  }

  /** The evaluator's own window. */
  get window(): MetricWindow {
    return this.windowOf(this.#settings.evaluator.window_ms);
  }

  /** @throws RangeError when no SLO has such a window */
  windowOf(windowMs: number): MetricWindow {
    const window = this.#windows.get(windowMs);
    if (!window) throw new RangeError(`there is no window of ${windowMs} ms`);
    return window;
  }

  /**
   * Judges every SLO, highest priority first.
   * @param runningRequests at all workers that answer; undefined when none does
   */
  evaluate(runningRequests: number | undefined): SloVerdict[] {
    return this.#policies.flatMap((policy) => policy.slos.map((slo) => this.#judge(policy, slo, runningRequests)));
  }

  /** What an SLO measures at each worker that has been heard of, the worst first. Only for policies that break circuits. */
  byWorker(slo: Slo): { worker: string; measurement: Measurement; beyond: boolean }[] {
    const { evaluator } = this.#settings;
    return [...this.#workerWindows]
      .flatMap(([worker, windows]) => {
        const window = windows.get(slo.window_ms);
        const measurement = window && measureSlo(slo, window, undefined);
        return measurement && isEnough(slo, measurement, evaluator) ? [{ worker, measurement, beyond: lookAt(slo, measurement, evaluator) === 'beyond' }] : [];
      })
      .sort((left, right) => (right.measurement.bound ?? 0) - (left.measurement.bound ?? 0));
  }

  /** Forgets what a worker did, as before a trial. */
  forgetWorker(worker: string): void {
    this.#workerWindows.delete(worker);
  }

  #judge(policy: SloPolicy, slo: Slo, runningRequests: number | undefined): SloVerdict {
    const { evaluator } = this.#settings;
    const kept = this.#slos.get(keyOf(policy, slo));
    const measurement = measureSlo(slo, this.windowOf(slo.window_ms), runningRequests);
    const burn = kept?.budget?.read(this.#now(), slo.min_samples ?? evaluator.min_samples) ?? [];
    const measured = { ...aboutOf(policy, slo, measurement), burn };
    const burns = burn.some(({ burning }) => burning);
    if (this.#isStale(slo, burns ? 1 : measurement.samples)) return { ...measured, verdict: 'stale' };
    if (!kept || !isEnough(slo, measurement, evaluator)) return { ...measured, verdict: burns ? 'violated' : 'insufficient_data' };
    kept.memory = remember(kept.memory, lookAt(slo, measurement, evaluator), evaluator);
    return { ...measured, verdict: kept.memory.violated || burns ? 'violated' : 'ok' };
  }

  /** Whether what is held is old. How many run is read off the workers: no report is needed to know it. */
  #isStale({ metric }: Slo, held: number): boolean {
    return held > 0 && metric !== 'stream_count' && this.#now() - this.#heardAt > this.#settings.evaluator.stale_after_ms;
  }

  #kept(windows: ReadonlyMap<number, MetricWindow>, windowMs: number): MetricWindow {
    const window = windows.get(windowMs);
    const { tdigest_compression: compression } = this.#settings.evaluator;
    return window?.compression === compression ? window : new MetricWindow({ windowMs, compression, now: this.#now });
  }

  #keptSlo(key: string, slo: Slo): Kept {
    const kept = this.#slos.get(key);
    if (kept && JSON.stringify(kept.slo) === JSON.stringify(slo)) return kept;
    const budget = slo.objective === undefined ? undefined : new ErrorBudget(slo.objective, slo.burn_rates);
    this.#takeUp(key, slo, budget);
    return { slo, memory: FRESH, budget };
  }

  #takeUp(key: string, slo: Slo, budget: ErrorBudget | undefined): void {
    const kept = this.#budgetsLeft[budgetKey(key, slo)];
    if (kept) budget?.takeUp(kept, this.#now());
  }

  /** Windows of one worker, only as long as the SLOs of policies that break circuits ask for. */
  #windowsOf(worker: string): Iterable<MetricWindow> {
    if (worker === '') return [];
    const known = this.#workerWindows.get(worker);
    if (known) return known.values();
    const breaking = this.#policies.filter(({ remediations }) => remediations.some(({ type }) => type === 'circuit_break'));
    const lengths = breaking.flatMap(({ slos }) => slos.map(({ window_ms }) => window_ms));
    const windows = new Map(lengths.map((length) => [length, this.#kept(new Map(), length)]));
    if (this.#workerWindows.size < MOST_WORKERS) this.#workerWindows.set(worker, windows);
    return windows.values();
  }
}

const MOST_WORKERS = 1_000;
/** Budgets of SLOs that are not in force: so many, and while they heard of a request within so long. */
const MOST_LEFT = 100;
const LONGEST_LEFT_MS = 259_200_000;

function keyOf(policy: SloPolicy, slo: Slo): string {
  return `${policy.id} ${slo.name}`;
}

/** What was good for another metric or threshold says nothing about this one. */
function budgetKey(key: string, { metric, threshold }: Slo): string {
  return `${key} ${metric} ${threshold}`;
}

/** Whether a request used up the error budget; undefined when it says nothing about it. */
export function isGood(slo: Slo, { outcome, ttftMs, durationMs }: RequestSample): boolean | undefined {
  if (outcome === 'failed') return false;
  if (outcome === 'other') return undefined;
  if (slo.metric === 'ttft') return ttftMs === undefined || ttftMs <= slo.threshold;
  return slo.metric !== 'latency' || durationMs <= slo.threshold;
}

function aboutOf(policy: SloPolicy, { name, metric, severity, threshold, window_ms: windowMs }: Slo, { value, bound, samples }: Measurement) {
  return { policy: policy.id, slo: name, metric, severity, threshold, windowMs, samples, ...(value === undefined ? {} : { value }), ...(bound === undefined ? {} : { bound }) };
}
