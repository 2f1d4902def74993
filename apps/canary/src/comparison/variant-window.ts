import { create } from '@bufbuild/protobuf';
import { StreamOutcome, type StreamReport, type VariantSummary, VariantSummarySchema } from '@mlx-serving/contracts';
import { RollingDigest, RollingSums, type WindowOptions } from '@mlx-serving/tdigest';

/** Fewest latencies from which their spread is read. */
const LEAST_FOR_SIGMA = 100;
/** No traffic is so even that a plan should count on it. */
const LEAST_SIGMA = 0.1;
const NORMAL_95 = 1.6449;

/** What became of one variant's requests over the window, by their time of arrival. */
export class VariantWindow {
  readonly #latency: RollingDigest;
  readonly #sums: RollingSums<'ok' | 'failed'>;

  constructor(options: WindowOptions) {
    this.#latency = new RollingDigest(options);
    this.#sums = new RollingSums(['ok', 'failed'], options);
  }

  /**
   * Counts a request that ended well or failed by a fault of the server. Only the former has a latency to compare:
   * a variant that fails at once would look fast.
   * @returns false when the report does not count
   */
  add(report: StreamReport): boolean {
    if (report.outcome === StreamOutcome.FAILED) this.#sums.add('failed');
    else if (report.outcome === StreamOutcome.OK) {
      this.#sums.add('ok');
      this.#latency.push(report.durationMs);
    } else return false;
    return true;
  }

  /** Of the logarithm of the latency, as if it were lognormal; undefined while there are fewer than LEAST_FOR_SIGMA. */
  get latencySigma(): number | undefined {
    const [median, high] = [this.#latency.percentile(50), this.#latency.percentile(95)];
    if (this.#sums.read().ok < LEAST_FOR_SIGMA || !median || !high) return undefined;
    return Math.max(LEAST_SIGMA, Math.log(high / median) / NORMAL_95);
  }

  summary(): VariantSummary {
    const { ok, failed } = this.#sums.read();
    const latencyP95Ms = this.#latency.percentile(95);
    return create(VariantSummarySchema, {
      requests: BigInt(ok + failed),
      errors: BigInt(failed),
      errorRate: failed / Math.max(ok + failed, 1),
      ...(latencyP95Ms === undefined ? {} : { latencyP95Ms }),
    });
  }
}
