import { FinishReason, StreamOutcome, type StreamReport } from '@mlx-serving/contracts';
import type { Observation } from '@mlx-serving/policy';

/** Requests of a worker that has just started, which are slow for no fault of the model. */
const COLD_REQUESTS = 5;
const COUNTED_REASONS: ReadonlySet<string> = new Set(['IN_CANARY_SHARE', 'OUTSIDE_CANARY_SHARE']);

/** Turns reports into what the test sees. */
export class Observer {
  /** Whether a unit has many requests. */
  countsUsers = false;
  #served = new Map<string, number>();

  /**
   * @param atMs when it became known
   * @returns undefined for a request whose variant was not drawn by the share, so that it says nothing
   */
  observationOf(report: StreamReport, atMs: number): Observation | undefined {
    const { decision, outcome } = report;
    if (!decision || !COUNTED_REASONS.has(decision.variantReason)) return undefined;
    const canary = decision.variant === 'canary';
    const unit = this.countsUsers ? decision.routingKeyHash || undefined : undefined;
    const failed = outcome === StreamOutcome.FAILED;
    // Of either variant: a cold baseline would set its quantiles too high.
    const cold = this.#isCold(report.workerId);
    if (outcome !== StreamOutcome.OK && !failed) return { canary, failed, unfinished: true, unit, values: cold ? [] : leastValues(report), atMs };
    if (failed || cold) return { canary, failed, unit, values: [], atMs };
    return { canary, failed, unit, ...answerOf(report), atMs };
  }

  /** The worker's next requests are cold again. */
  restarted(workerId: string): void {
    this.#served.delete(workerId);
  }

  #isCold(workerId: string): boolean {
    const served = this.#served.get(workerId) ?? 0;
    if (served >= COLD_REQUESTS) return false;
    if (this.#served.size > 1_000) this.#served.clear();
    this.#served.set(workerId, served + 1);
    return true;
  }
}

function answerOf(report: StreamReport): Pick<Observation, 'values' | 'empty' | 'cut' | 'repeated' | 'otherFinish'> {
  const tokens = report.usage?.completionTokens ?? 0;
  const { finishReason, repeatedOutput: repeated } = report;
  const otherFinish = finishReason !== FinishReason.STOP && finishReason !== FinishReason.LENGTH;
  return { values: valuesOf(report, tokens), empty: report.emptyOutput || tokens === 0, cut: finishReason === FinishReason.LENGTH, repeated, otherFinish };
}

/**
 * Of a request that has no end. A client that was refused was routed all the same, and counts for the sample ratio alone.
 * One that went away had waited so long at least: a canary that hangs must not look fast because nobody waits for it.
 */
function leastValues({ outcome, durationMs, ttftMs }: StreamReport): number[] {
  return outcome === StreamOutcome.CANCELLED ? [durationMs, ttftMs ?? durationMs] : [];
}

/** By the order of TAIL_METRICS. Of a short output the reciprocal is taken, so that greater is worse. */
function valuesOf({ durationMs, ttftMs, tokenGapP95Ms }: StreamReport, tokens: number): number[] {
  const first = ttftMs ?? Number.NaN;
  const perToken = tokens > 0 ? durationMs / tokens : Number.NaN;
  const gap = tokenGapP95Ms ?? (tokens > 1 ? (durationMs - first) / (tokens - 1) : Number.NaN);
  return [durationMs, first, perToken, gap, tokens, 1 / (1 + tokens)];
}
