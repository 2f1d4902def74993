import { create } from '@bufbuild/protobuf';
import { StreamOutcome, type StreamReport, type VariantSummary, VariantSummarySchema } from '@mlx-serving/contracts';
import { RollingDigest, RollingSums, type WindowOptions } from '@mlx-serving/tdigest';

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
