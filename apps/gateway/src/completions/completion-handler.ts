import type { RuntimeFile } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import { callerHeaders, type HttpContext } from '../http/http-context.ts';
import { readJsonBody } from '../http/read-json-body.ts';
import type { AnswerPlan } from '../openai/answer-plan.ts';
import { type AnswerPlanned, assertChoices, assertStreamOptions } from '../openai/answer-request.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { seeded, toSampling } from '../openai/sampling.ts';
import type { ReadCaller } from '../tenants/caller-service.ts';
import { createCompletionFormat } from './completion-format.ts';
import { type CompletionParameters, completionParameters } from './completion-parameters.ts';

/** OpenAI's default for this endpoint. */
const DEFAULT_MAX_TOKENS = 16;

/** POST /v1/completions. */
export function createCompletionHandler(answer: AnswerPlanned, limits: () => RuntimeFile['requests'], readCaller: ReadCaller) {
  return async (context: HttpContext): Promise<void> => {
    const caller = readCaller(callerHeaders(context));
    const parameters = parseRequest(completionParameters, await readJsonBody(context, limits()));
    const plan = planCompletion(parameters, limits().max_choices);
    await answer(context, plan, caller(plan.stream));
  };
}

/** @throws INVALID_REQUEST when the parameters do not go together */
function planCompletion(parameters: CompletionParameters, maxChoices: number): AnswerPlan {
  assertTogether(parameters);
  const { prompt: prompts, best_of, logprobs, stream, echo } = parameters;
  const n = parameters.n ?? 1;
  const choicesPerPrompt = best_of ?? n;
  assertChoices(choicesPerPrompt * prompts.length, maxChoices, best_of == null ? (n > 1 ? 'n' : 'prompt') : 'best_of');
  const chooses = choicesPerPrompt > n;
  const sampling = toSampling(parameters, { maxTokens: parameters.max_tokens ?? DEFAULT_MAX_TOKENS, topLogprobs: logprobs ?? (chooses ? 0 : undefined) });
  const choices = prompts.flatMap((prompt) => Array.from({ length: choicesPerPrompt }, () => ({ case: 'prompt' as const, value: prompt })));
  return {
    route: 'completions',
    model: parameters.model,
    user: parameters.user || undefined,
    choices: choices.map((input, index) => ({ input, sampling: seeded(sampling, parameters.seed, index) })),
    choicesPerPrompt,
    ...(chooses ? { best: n } : {}),
    stream: stream === true,
    format: createCompletionFormat({
      includeUsage: parameters.stream_options?.include_usage === true,
      topLogprobs: logprobs ?? undefined,
      echo: (choice) => (echo ? (prompts[Math.floor(choice / n)] ?? '') : ''),
    }),
  };
}

function assertTogether(parameters: CompletionParameters): void {
  assertStreamOptions(parameters);
  const { best_of, n, stream, echo, logprobs } = parameters;
  const refuse = (message: string, param: string): never => {
    throw errors.INVALID_REQUEST({ message }, { param });
  };
  if (best_of != null && best_of < (n ?? 1)) refuse("'best_of' must be at least 'n'.", 'best_of');
  if (best_of != null && best_of > (n ?? 1) && stream) refuse("'best_of' cannot be streamed.", 'best_of');
  if (echo && logprobs != null) refuse("'echo' is not supported together with 'logprobs'.", 'echo');
}
