import type { EvaluationContext } from '@mlx-serving/evaluation';
import { ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { contextOf } from '../flags/client-answers.ts';
import type { HttpContext } from '../http/http-context.ts';
import { readJsonBody } from '../http/read-json-body.ts';
import type { Caller } from '../tenants/caller.ts';
import type { OfrepFailure } from './ofrep-answer.ts';

/** Of the body of an evaluation. */
const LIMITS = { max_body_bytes: 64 * 1024, max_body_depth: 64 };

/** What the body of an evaluation asks. */
export type OfrepQuestion = { readonly context: EvaluationContext } | { readonly failure: OfrepFailure };

/**
 * Reads the body of an evaluation: `{"context": {"targetingKey": …, …}}`. A body that is none is answered in the terms of OFREP.
 * @param caller whose user counts where the body names none
 */
export async function readOfrepQuestion(http: HttpContext, caller: Caller): Promise<OfrepQuestion> {
  try {
    const body = await readJsonBody(http, LIMITS);
    const context = body['context'] ?? {};
    if (typeof context !== 'object' || Array.isArray(context)) return { failure: { errorCode: 'INVALID_CONTEXT', errorDetails: 'context must be an object.' } };
    return { context: toContext(caller, context as Record<string, unknown>) };
  } catch (thrown) {
    const error = ServiceError.from(thrown);
    if (error.reason === errors.CLIENT_GONE().reason || error.code !== 'INVALID_ARGUMENT') throw error;
    return { failure: { errorCode: 'PARSE_ERROR', errorDetails: error.message } };
  }
}

/** The targeting key is the user, as `user` is where a request for tokens is decided. */
function toContext(caller: Caller, { targetingKey, ...attributes }: Record<string, unknown>): EvaluationContext {
  return contextOf(caller, caller.user(typeof targetingKey === 'string' && targetingKey !== '' ? targetingKey : undefined), attributes);
}
