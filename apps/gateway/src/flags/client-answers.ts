import type { IncomingHttpHeaders } from 'node:http';
import type { EvaluationContext, FlagAnswer } from '@mlx-serving/evaluation';
import type { DecisionCounter } from '../decision/decision-counts.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { EvaluationSample, FlagTelemetry } from '../telemetry/flag-telemetry.ts';
import type { RequestTraces } from '../telemetry/request-traces.ts';
import { callerHeaders, type HttpContext } from '../http/http-context.ts';
import type { Caller } from '../tenants/caller.ts';
import type { ReadCaller } from '../tenants/caller-service.ts';

/** What answers clients that ask for flags. */
export interface ClientAnswers {
  readonly flags: FlagSnapshotStore;
  readonly counts: DecisionCounter;
  readonly telemetry: FlagTelemetry;
  readonly traces: RequestTraces;
  readonly readCaller: ReadCaller;
}

/**
 * Who asks, as the routes that generate read it: a key is needed where they need one.
 * @throws API_KEY_MISSING or API_KEY_WRONG
 */
export function readAsker({ readCaller }: ClientAnswers, http: Pick<HttpContext, 'request' | 'response'>): Caller {
  return readCaller(callerHeaders(http))(false);
}

/** What an answer hangs on: the same routing key, user and tenant as of the caller's requests for tokens. */
export function contextOf(caller: Caller, user: string | undefined, attributes: Readonly<Record<string, unknown>> = {}): EvaluationContext {
  const { tenant } = caller;
  return { key: caller.routingKey(user) ?? user, attributes: { ...(tenant === undefined ? {} : { tenant }), ...(user === undefined ? {} : { user_id: user }), ...attributes } };
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
