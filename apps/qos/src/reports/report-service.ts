import type { StreamReport, StreamReportBatch } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import type { QosMetrics } from '../metrics.ts';
import { ReportWindow } from './report-window.ts';

/** Most reports that are kept to be shown. */
const RECENT = 100;

/** Takes reports in: windows for the evaluator and for every SLO, totals, and the last hundred reports. */
export class ReportService {
  readonly #metrics: QosMetrics;
  readonly #now: () => number;
  #windows = new Map<number, ReportWindow>();
  #windowMs = 0;
  #recent: StreamReport[] = [];
  #reports = 0n;
  #dropped = 0n;

  constructor(metrics: QosMetrics, now: () => number) {
    this.#metrics = metrics;
    this.#now = now;
  }

  /** Makes the windows that the configuration asks for. A window whose length stays keeps its samples. */
  configure({ qos_monitor: { evaluator, policy_store } }: RuntimeFile): void {
    const compression = evaluator.tdigest_compression;
    const lengths = new Set([evaluator.window_ms, ...policy_store.policies.flatMap((policy) => policy.slos.map((slo) => slo.window_ms))]);
    const kept = (windowMs: number): ReportWindow | undefined => {
      const window = this.#windows.get(windowMs);
      return window?.compression === compression ? window : undefined;
    };
    this.#windows = new Map([...lengths].map((windowMs) => [windowMs, kept(windowMs) ?? new ReportWindow({ windowMs, compression, now: this.#now })]));
    this.#windowMs = evaluator.window_ms;
  }

  ingest(batch: StreamReportBatch): void {
    for (const report of batch.reports) this.#add(report);
    this.#reports += BigInt(batch.reports.length);
    this.#dropped += batch.dropped;
    this.#metrics.reports.inc(batch.reports.length);
    this.#metrics.droppedReports.inc(Number(batch.dropped));
  }

  /** The evaluator's window. */
  get window(): ReportWindow {
    return this.windowOf(this.#windowMs);
  }

  /** @throws RangeError when the configuration has no such window */
  windowOf(windowMs: number): ReportWindow {
    const window = this.#windows.get(windowMs);
    if (!window) throw new RangeError(`there is no window of ${windowMs} ms`);
    return window;
  }

  /** Oldest first. */
  get recent(): readonly StreamReport[] {
    return this.#recent;
  }

  get totals(): { reports: bigint; dropped: bigint } {
    return { reports: this.#reports, dropped: this.#dropped };
  }

  #add(report: StreamReport): void {
    const taken = [...this.#windows.values()].map((window) => window.add(report));
    if (taken.includes(false)) this.#metrics.rejectedSamples.inc();
    this.#recent.push(report);
    if (this.#recent.length > RECENT) this.#recent = this.#recent.slice(-RECENT);
  }
}
