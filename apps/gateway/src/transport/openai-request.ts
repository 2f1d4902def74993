import type { ChatMessage, SamplingOptions, WorkerGenerateRequest } from '@mlx-serving/contracts';

/** What a server of OpenAI's API is asked: the endpoint behind its base, and the body. */
export interface OpenAiRequest {
  readonly path: '/chat/completions' | '/completions';
  readonly body: Readonly<Record<string, unknown>>;
}

/** @param model the name by which that server knows the model. Default: the request's own */
export function toOpenAiRequest({ model: asked, input, sampling }: WorkerGenerateRequest, model = asked): OpenAiRequest {
  const common = { ...(model === '' ? {} : { model }), stream: true, stream_options: { include_usage: true }, ...(sampling ? toParameters(sampling, input.case === 'prompt') : {}) };
  if (input.case !== 'conversation') return { path: '/completions', body: { ...common, prompt: input.value ?? '' } };
  const { messages, toolsJson } = input.value;
  const tools = toolsJson.length === 0 ? {} : { tools: toolsJson.map((tool) => JSON.parse(tool) as unknown) };
  return { path: '/chat/completions', body: { ...common, messages: messages.map(toMessage), ...tools } };
}

function toMessage({ role, content, toolCalls, toolCallId }: ChatMessage) {
  const calls = toolCalls.map(({ id, name, argumentsJson }) => ({ id, type: 'function', function: { name, arguments: argumentsJson } }));
  return { role, content, ...(calls.length > 0 ? { tool_calls: calls } : {}), ...(toolCallId === '' ? {} : { tool_call_id: toolCallId }) };
}

/** What is at its default is left out: a server may not know it. `top_k`, `min_p` and `repetition_penalty` are what these servers add to OpenAI's. */
function toParameters(sampling: SamplingOptions, isText: boolean): Record<string, unknown> {
  const { maxTokens, temperature, topP, seed, stop, topK, minP, repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, topLogprobs, jsonSchema } = sampling;
  const parameters = {
    max_tokens: maxTokens,
    temperature: rounded(temperature),
    top_p: rounded(topP),
    seed: seed === undefined ? undefined : Number(seed),
    stop: stop.length === 0 ? undefined : stop,
    top_k: topK || undefined,
    min_p: rounded(minP) || undefined,
    repetition_penalty: rounded(repetitionPenalty),
    presence_penalty: rounded(presencePenalty) || undefined,
    frequency_penalty: rounded(frequencyPenalty) || undefined,
    logit_bias: Object.keys(logitBias).length === 0 ? undefined : logitBias,
    ...logprobs(topLogprobs, isText),
    response_format: jsonSchema === '' ? undefined : { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema: JSON.parse(jsonSchema) as unknown } },
  };
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined));
}

function logprobs(top: number | undefined, isText: boolean): Record<string, unknown> {
  if (top === undefined) return {};
  return isText ? { logprobs: top } : { logprobs: true, top_logprobs: top };
}

/** Our own wire format has floats of 32 bits: 0.7 comes as 0.699999988. */
function rounded(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Number(value.toPrecision(6));
}
