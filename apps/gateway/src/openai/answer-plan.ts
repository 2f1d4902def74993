import type { SamplingOptions } from '@mlx-serving/contracts';
import type { GenerationRequest, Route } from '../generation/generation-types.ts';
import type { HttpContext } from '../http/http-context.ts';
import type { Caller } from '../tenants/caller.ts';
import type { AnswerFormat } from './answer-format.ts';

/** What is to be generated for one HTTP request, and how it is answered. */
export interface AnswerPlan {
  readonly route: Route;
  readonly model: string;
  readonly user: string | undefined;
  /** One for each answer, in the order of their indexes. */
  readonly choices: readonly { readonly input: GenerationRequest['input']; readonly sampling: SamplingOptions }[];
  /** Answers to one and the same prompt, which counts once in the usage. */
  readonly choicesPerPrompt: number;
  /** How many of the answers to each prompt are kept: those with the best mean log probability. Default: all. */
  readonly best?: number;
  readonly stream: boolean;
  readonly format: AnswerFormat;
}

/** The generations of a plan, in the name of the caller. */
export function toRequests({ choices, choicesPerPrompt, route, model, user }: AnswerPlan, { requestId, arrivedAt, request: { headers } }: Pick<HttpContext, 'requestId' | 'arrivedAt' | 'request'>, caller: Caller): GenerationRequest[] {
  const { tenant, priority, deadlineMs } = caller;
  const named = caller.user(user);
  const routingKey = caller.routingKey(user);
  const header: GenerationRequest['header'] = (name) => [headers[name]].flat()[0];
  return choices.map(({ input, sampling }, choice) => ({ requestId, route, model, input, sampling, user: named, routingKey, tenant, priority, deadlineMs, choice, arrivedAt, header, onUsage: charge(caller, choice % choicesPerPrompt === 0) }));
}

/**
 * Takes what an answer cost off the caller's limits.
 * @param countsPrompt as in the usage that is shown, a prompt counts once, however many answers it gets
 */
export function charge(caller: Pick<Caller, 'used'>, countsPrompt: boolean): NonNullable<GenerationRequest['onUsage']> {
  return ({ promptTokens, completionTokens }) => caller.used((countsPrompt ? promptTokens : 0) + completionTokens);
}
