import { metrics as openTelemetry, type Context, trace } from '@opentelemetry/api';
import type { DecisionCounts, FlagObservability } from '@mlx-serving/contracts';
import type { FlagAnswer } from '@mlx-serving/evaluation';
import { CounterSampler, type Logger } from '@mlx-serving/service-kit';
import type { GatewayMetrics } from '../metrics.ts';
import { EVALUATION_EVENT, type EvaluatedWith, flagAttributes } from './flag-attributes.ts';

/** Share of the evaluations whose time is measured. */
const TIMED_SHARE = 1 / 16;

/** What is noted of one evaluation that was sampled. */
export interface EvaluationSample {
  readonly observe: (name: string, answer: FlagAnswer) => void;
  /** @param subject for whom it was, as the log names it: never the key itself */
  done(subject: string, evaluatedWith: EvaluatedWith): void;
}

/**
 * Spans, times and log lines of evaluations (SPEC F26), of a sample of them: of all others it costs two additions and no
 * memory. How many decisions there were is counted elsewhere and handed over once a second.
 */
export class FlagTelemetry {
  readonly #metrics: GatewayMetrics;
  readonly #logger: Logger;
  readonly #timed = new CounterSampler(TIMED_SHARE);
  readonly #tracer = trace.getTracer('mlx-serving.feature-flags');
  readonly #checks = openTelemetry.getMeter('mlx-serving.feature-flags').createCounter('feature_flag_checks_total', { description: 'Decisions about flags.' });
  readonly #durations = openTelemetry.getMeter('mlx-serving.feature-flags').createHistogram('feature_flag_evaluation_duration_ms', { unit: 'ms', description: 'Time of one evaluation, of a sample of them.' });
  #logged = new CounterSampler(0);
  #counts = true;

  constructor(metrics: GatewayMetrics, logger: Logger) {
    this.#metrics = metrics;
    this.#logger = logger;
  }

  /** Follows `observability` of the configuration file, as the flag service has it. */
  use({ logFeatureDecisions, logSampling, exportMetrics }: FlagObservability): void {
    this.#logged = new CounterSampler(logFeatureDecisions ? logSampling : 0);
    this.#counts = exportMetrics;
  }

  /** Decisions since the last call. */
  count({ counts }: DecisionCounts): void {
    if (!this.#counts) return;
    for (const { flag, ...totals } of counts) {
      for (const enabled of ['enabled', 'disabled'] as const) {
        const count = Number(totals[enabled]);
        if (count === 0) continue;
        this.#metrics.flagChecks.inc({ feature: flag, enabled: String(enabled === 'enabled') }, count);
        this.#checks.add(count, { 'feature_flag.key': flag, enabled: enabled === 'enabled' });
      }
    }
  }

  /**
   * Call it before an evaluation.
   * @param traced the span under which the evaluation is traced, if it is
   * @returns undefined for an evaluation of which nothing is noted
   */
  begin(traced: Context | undefined): EvaluationSample | undefined {
    const [timed, logged] = [this.#counts && this.#timed.takes(), this.#logged.takes()];
    return timed || logged || traced !== undefined ? this.#sample(timed, logged, traced) : undefined;
  }

  #sample(timed: boolean, logged: boolean, traced: Context | undefined): EvaluationSample {
    const answers: [string, FlagAnswer][] = [];
    const span = traced && this.#tracer.startSpan('feature_flag.evaluate', {}, traced);
    const startedAt = performance.now();
    return {
      observe: (name, answer) => void answers.push([name, answer]),
      done: (subject, evaluatedWith) => {
        if (timed) this.#measured(performance.now() - startedAt);
        if (logged) for (const [name, { enabled }] of answers) this.#logger.info(`Feature flag decision: ${name} for ${subject} => ${enabled ? 'enabled' : 'disabled'}`);
        if (!span) return;
        const [first] = answers;
        if (first && answers.length === 1) span.setAttributes(flagAttributes(...first, evaluatedWith));
        else for (const [name, answer] of answers) span.addEvent(EVALUATION_EVENT, flagAttributes(name, answer, evaluatedWith));
        span.end();
      },
    };
  }

  #measured(milliseconds: number): void {
    this.#metrics.flagEvaluation.observe(milliseconds);
    this.#durations.record(milliseconds);
  }
}

