import type { IncomingHttpHeaders } from 'node:http';
import type { EvaluationContext, FlagAnswer } from '@mlx-serving/evaluation';
import type { DecisionCounter } from '../decision/decision-counts.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { EvaluationSample, FlagTelemetry } from '../telemetry/flag-telemetry.ts';
import type { RequestTraces } from '../telemetry/request-traces.ts';

/** What answers clients that ask for flags. */
export interface ClientAnswers {
  readonly flags: FlagSnapshotStore;
  readonly counts: DecisionCounter;
  readonly telemetry: FlagTelemetry;
  readonly traces: RequestTraces;
}

/** The request in which a client asks. */
export interface Asking {
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
}

/** Evaluates one flag for a client: counted, and noted when it is sampled. */
export function askOne(answers: ClientAnswers, name: string, context: EvaluationContext, asking: Asking): FlagAnswer {
  const sample = sampleOf(answers, asking);
  const answer = answers.flags.flags.evaluate(name, context);
  if (answer.reason !== 'FLAG_NOT_FOUND') answers.counts.add(name, answer.enabled);
  sample?.observe(name, answer);
  sample?.done(asking.requestId, answers.flags);
  return answer;
}

/** The same for every flag. @param take is handed each answer, in the order of the names */
export function askAll(answers: ClientAnswers, context: EvaluationContext, asking: Asking, take: (name: string, answer: FlagAnswer) => void): void {
  const sample = sampleOf(answers, asking);
  answers.flags.flags.answerAll(context, (name, answer) => {
    answers.counts.add(name, answer.enabled);
    sample?.observe(name, answer);
    take(name, answer);
  });
  sample?.done(asking.requestId, answers.flags);
}

function sampleOf({ telemetry, traces }: ClientAnswers, { headers }: Asking): EvaluationSample | undefined {
  return telemetry.begin(traces.contextOf((name) => [headers[name]].flat()[0]));
}
