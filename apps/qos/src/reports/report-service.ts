import { type StreamReport, type StreamReportBatch, StreamOutcome } from '@mlx-serving/contracts';
import type { RequestSample } from '@mlx-serving/policy';
import type { QosMetrics } from '../metrics.ts';
import { ReportGate } from './report-gate.ts';

/** Most reports that are kept to be shown. */
const RECENT = 100;

export interface ReportServiceOptions {
  readonly metrics: QosMetrics;
  /** Called with each report that is new. @returns false when one of its numbers was refused */
  readonly onSample: (sample: RequestSample) => boolean;
}

/** Takes reports in, each once: totals, the last hundred, and what the evaluator sees of them. */
export class ReportService {
  readonly #options: ReportServiceOptions;
  readonly #gate = new ReportGate();
  #recent: StreamReport[] = [];
  readonly #totals = { reports: 0n, dropped: 0n, duplicates: 0n };

  constructor(options: ReportServiceOptions) {
    this.#options = options;
  }

  ingest(replicaId: string, epoch: string, batch: StreamReportBatch): void {
    const { metrics, onSample } = this.#options;
    const reports = this.#gate.pass(replicaId, epoch, batch);
    for (const report of reports) if (!onSample(toSample(report))) metrics.rejectedSamples.inc();
    this.#recent = [...this.#recent, ...reports].slice(-RECENT);
    this.#totals.reports += BigInt(reports.length);
    this.#totals.dropped += batch.dropped;
    this.#totals.duplicates += BigInt(batch.reports.length - reports.length);
    metrics.reports.inc(reports.length);
    metrics.droppedReports.inc(Number(batch.dropped));
    metrics.duplicateReports.inc(batch.reports.length - reports.length);
  }

  /** Oldest first. */
  get recent(): readonly StreamReport[] {
    return this.#recent;
  }

  get totals(): Readonly<Record<'reports' | 'dropped' | 'duplicates', bigint>> {
    return this.#totals;
  }
}

/** What the evaluator sees of a report. */
function toSample(report: StreamReport): RequestSample {
  return {
    outcome: outcomeOf(report.outcome),
    ttftMs: report.ttftMs,
    durationMs: report.durationMs,
    tokens: report.usage?.completionTokens ?? 0,
    worker: report.workerId,
    variant: report.decision?.variant ?? '',
  };
}

export function outcomeOf(outcome: StreamOutcome): RequestSample['outcome'] {
  if (outcome === StreamOutcome.OK) return 'ok';
  return outcome === StreamOutcome.FAILED ? 'failed' : 'other';
}
