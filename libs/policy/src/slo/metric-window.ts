import { RollingDigest, RollingSums } from '@mlx-serving/tdigest';

/** What one finished request tells. */
export interface RequestSample {
  /** `ok`: ended well. `failed`: by a fault of the server. `other`: the client went away, or it was refused; neither counts. */
  readonly outcome: 'ok' | 'failed' | 'other';
  /** Absent when no token was written. */
  readonly ttftMs?: number | undefined;
  readonly durationMs: number;
  readonly tokens: number;
  /** `host:port`; empty when it came to none. */
  readonly worker: string;
  readonly variant: string;
}

export interface WindowOfOptions {
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

/** Requests over the last `windowMs`, by their time of arrival, so no gateway's clock matters (SPEC Q1). */
export class MetricWindow implements WindowView {
  readonly windowMs: number;
  readonly compression: number;
  readonly ttft: RollingDigest;
  readonly latency: RollingDigest;
  readonly #sums: RollingSums<'ok' | 'failed' | 'tokens'>;
  readonly #now: () => number;
  readonly #startedAt: number;

  constructor(options: WindowOfOptions) {
    this.windowMs = options.windowMs;
    this.compression = options.compression;
    this.ttft = new RollingDigest(options);
    this.latency = new RollingDigest(options);
    this.#sums = new RollingSums(['ok', 'failed', 'tokens'], options);
    this.#now = options.now;
    this.#startedAt = options.now();
  }

  /** @returns false when one of the sample's numbers was refused; the rest of it counts */
  add(sample: RequestSample): boolean {
    if (sample.outcome === 'ok') this.#sums.add('ok');
    if (sample.outcome === 'failed') this.#sums.add('failed');
    const tokensTaken = Number.isSafeInteger(sample.tokens) && sample.tokens >= 0;
    if (tokensTaken) this.#sums.add('tokens', sample.tokens);
    const ttftTaken = sample.ttftMs === undefined || this.ttft.push(sample.ttftMs);
    const latencyTaken = sample.outcome !== 'ok' || this.latency.push(sample.durationMs);
    return tokensTaken && ttftTaken && latencyTaken;
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
