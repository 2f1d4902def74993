import { create, equals } from '@bufbuild/protobuf';
import { type CanaryComparison, CanaryComparisonSchema, type CanaryShadow, StreamOutcome, type StreamReport, type StreamReportBatch } from '@mlx-serving/contracts';
import type { CanaryFile, Variant } from '@mlx-serving/policy';
import { RollingSums } from '@mlx-serving/tdigest';
import type { CanaryMetrics } from '../metrics.ts';
import { SeenReports } from './seen-reports.ts';
import { VariantWindow } from './variant-window.ts';

export interface ComparisonServiceOptions {
  /** One word for both variants as they stand. */
  readonly status: (comparison: Pick<CanaryComparison, 'baseline' | 'canary'>) => string;
  /** Called with each report, once. */
  readonly onReport: (report: StreamReport) => void;
  /** Called every `monitoring.intervalMs`, before the comparison is shown. Never rejects. */
  readonly onLook: () => Promise<void>;
  /** Called every `monitoring.intervalMs` when the comparison changed. */
  readonly onChange: (comparison: CanaryComparison) => void;
  readonly metrics: CanaryMetrics;
  /** The clock in milliseconds. */
  readonly now: () => number;
}

/** Most reports that are kept to be shown. */
const RECENT = 100;
/** Parts of the window. */
const SLOTS = 60;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

type Monitoring = CanaryFile['monitoring'];

/** Puts both variants side by side over `monitoring.retentionHours`. */
export class ComparisonService {
  readonly #options: ComparisonServiceOptions;
  readonly #seen = new SeenReports();
  readonly #lastMinute: RollingSums<'requests'>;
  #windows: Record<Variant, VariantWindow> | undefined;
  #retentionHours = 0;
  #recent: StreamReport[] = [];
  #reports = 0n;
  readonly #shadow = { requests: 0n, failed: 0n, different: 0n };
  #last: CanaryComparison | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ComparisonServiceOptions) {
    this.#options = options;
    this.#lastMinute = new RollingSums(['requests'], { windowMs: MINUTE_MS, now: options.now });
  }

  /** Requests a second over the last minute, both variants. */
  get requestsPerSecond(): number {
    return this.#lastMinute.read().requests / (MINUTE_MS / 1_000);
  }

  /** How far the baseline's latencies spread; undefined while there are few. See `VariantWindow`. */
  get latencySigma(): number | undefined {
    return this.#window('baseline').latencySigma;
  }

  /** Starts, or goes on with other settings. A window whose length stays keeps its samples. */
  configure({ enabled, intervalMs, retentionHours }: Monitoring): void {
    this.stop();
    if (retentionHours !== this.#retentionHours) this.#windows = this.#createWindows(retentionHours);
    this.#retentionHours = retentionHours;
    if (enabled) this.#timer = setInterval(() => void this.#options.onLook().finally(() => this.tick()), intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  ingest(batch: StreamReportBatch): void {
    const { metrics } = this.#options;
    metrics.droppedReports.inc(Number(batch.dropped));
    for (const report of batch.reports) {
      if (this.#seen.isNew(report)) this.#add(report);
      else metrics.repeatedReports.inc();
    }
  }

  /** Both variants as they stand now. */
  compare(): CanaryComparison {
    const [baseline, canary] = [this.#window('baseline').summary(), this.#window('canary').summary()];
    return create(CanaryComparisonSchema, { baseline, canary, status: this.#options.status({ baseline, canary }) });
  }

  /** Shows the comparison, and hands it over when it changed. */
  tick(): void {
    const comparison = this.compare();
    const { metrics, onChange } = this.#options;
    metrics.latencyP95.reset();
    for (const variant of ['baseline', 'canary'] as const) {
      const summary = comparison[variant];
      metrics.errorRate.set({ variant }, summary?.errorRate ?? 0);
      if (summary?.latencyP95Ms !== undefined) metrics.latencyP95.set({ variant }, summary.latencyP95Ms);
    }
    if (this.#last && equals(CanaryComparisonSchema, this.#last, comparison)) return;
    this.#last = comparison;
    onChange(comparison);
  }

  /** Oldest first. */
  get recent(): readonly StreamReport[] {
    return this.#recent;
  }

  /** What became of the requests that were repeated at the canary. */
  get shadow(): Pick<CanaryShadow, 'requests' | 'failed' | 'different'> {
    return this.#shadow;
  }

  /** Reports that arrived, repeated ones not counted. */
  get reportsTotal(): bigint {
    return this.#reports;
  }

  #add(report: StreamReport): void {
    this.#reports++;
    this.#options.metrics.reports.inc();
    this.#recent.push(report);
    if (this.#recent.length > RECENT) this.#recent.shift();
    const { variant, variantReason } = report.decision ?? {};
    if (variantReason === 'SHADOW') return this.#addShadow(report);
    // Its time was spent at both.
    if (variantReason === 'MOVED_TO_BASELINE') return;
    if (variant !== 'baseline' && variant !== 'canary') return;
    this.#lastMinute.add('requests');
    if (this.#window(variant).add(report)) this.#options.metrics.requests.inc({ variant });
    this.#options.onReport(report);
  }

  #addShadow({ outcome, sameOutput }: StreamReport): void {
    const failed = outcome === StreamOutcome.FAILED;
    this.#shadow.requests++;
    if (failed) this.#shadow.failed++;
    if (sameOutput === false) this.#shadow.different++;
    this.#options.metrics.shadowRequests.inc({ outcome: failed ? 'failed' : sameOutput === false ? 'different' : 'ok' });
  }

  #window(variant: Variant): VariantWindow {
    if (!this.#windows) throw new Error('the comparison was not configured yet');
    return this.#windows[variant];
  }

  #createWindows(retentionHours: number): Record<Variant, VariantWindow> {
    const options = { windowMs: retentionHours * HOUR_MS, slots: SLOTS, now: this.#options.now };
    for (const variant of ['baseline', 'canary']) this.#options.metrics.requests.inc({ variant }, 0);
    return { baseline: new VariantWindow(options), canary: new VariantWindow(options) };
  }
}
