import { type StreamReport, StreamOutcome } from '@mlx-serving/contracts';
import { RollingDigest, RollingSums } from '@mlx-serving/tdigest';

export interface ReportWindowOptions {
  readonly windowMs: number;
  /** `qos_monitor.evaluator.tdigest_compression`. */
  readonly compression: number;
  /** The clock in milliseconds. */
  readonly now: () => number;
}

export interface Percentiles {
  readonly count: number;
  /** @param p 0 to 100. Undefined while there is no sample. */
  percentile(p: number): number | undefined;
}

/** What a window holds at one moment. */
export interface WindowView {
  /** Finished requests: those that ended well and those that failed. */
  readonly requests: number;
  /** Failed by a fault of the server. A client that went away and a refusal are no errors. */
  readonly errors: number;
  /** `errors / requests`; 0 without a request. */
  readonly errorRate: number;
  readonly tokensPerSecond: number;
  /** Milliseconds to the first token of every stream that had one. */
  readonly ttft: Percentiles;
  /** Milliseconds that requests took which ended well. One that failed at once says nothing about an answer. */
  readonly latency: Percentiles;
}

/** Reports over the last `windowMs`, by their time of arrival, so no gateway's clock matters (SPEC Q1). */
export class ReportWindow implements WindowView {
  readonly windowMs: number;
  readonly compression: number;
  readonly ttft: RollingDigest;
  readonly latency: RollingDigest;
  readonly #sums: RollingSums<'ok' | 'failed' | 'tokens'>;
  readonly #now: () => number;
  readonly #startedAt: number;

  constructor(options: ReportWindowOptions) {
    this.windowMs = options.windowMs;
    this.compression = options.compression;
    this.ttft = new RollingDigest(options);
    this.latency = new RollingDigest(options);
    this.#sums = new RollingSums(['ok', 'failed', 'tokens'], options);
    this.#now = options.now;
    this.#startedAt = options.now();
  }

  /** @returns false when one of the report's times was refused; the rest of it counts */
  add(report: StreamReport): boolean {
    if (report.outcome === StreamOutcome.OK) this.#sums.add('ok');
    if (report.outcome === StreamOutcome.FAILED) this.#sums.add('failed');
    this.#sums.add('tokens', report.usage?.completionTokens ?? 0);
    const ttftTaken = report.ttftMs === undefined || this.ttft.push(report.ttftMs);
    const latencyTaken = report.outcome !== StreamOutcome.OK || this.latency.push(report.durationMs);
    return ttftTaken && latencyTaken;
  }

  get requests(): number {
    const { ok, failed } = this.#sums.read();
    return ok + failed;
  }

  get errors(): number {
    return this.#sums.read().failed;
  }

  get errorRate(): number {
    return this.errors / Math.max(this.requests, 1);
  }

  /** Over the time that the window has seen, at least one second. */
  get tokensPerSecond(): number {
    const seenMs = Math.min(this.windowMs, Math.max(this.#now() - this.#startedAt, 1_000));
    return (this.#sums.read().tokens * 1_000) / seenMs;
  }
}
