import { randomUUID } from 'node:crypto';
import { FinishReason } from '@mlx-serving/contracts';
import type { GenerationResult } from '../generation/generation-types.ts';
import type { AnswerUsage } from '../openai/answer-format.ts';
import type { ChatLogprob } from '../openai/logprobs.ts';
import type { ResponseParameters } from './response-parameters.ts';

export type OutputItem =
  | { id: string; type: 'message'; status: ItemStatus; role: 'assistant'; content: OutputText[] }
  | { id: string; type: 'function_call'; status: ItemStatus; call_id: string; name: string; arguments: string };

export interface OutputText {
  readonly type: 'output_text';
  readonly text: string;
  readonly annotations: readonly never[];
  readonly logprobs: readonly ChatLogprob[];
}

type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export type ResponseStatus = ItemStatus | 'failed';

export function newId(kind: 'resp' | 'msg' | 'fc'): string {
  return `${kind}_${randomUUID().replaceAll('-', '')}`;
}

export function outputText(text: string, logprobs: readonly ChatLogprob[]): OutputText {
  return { type: 'output_text', text, annotations: [], logprobs };
}

export function statusOfResult({ finishReason }: GenerationResult): 'completed' | 'incomplete' {
  return finishReason === FinishReason.LENGTH ? 'incomplete' : 'completed';
}

function responseUsage({ promptTokens, completionTokens, cachedPromptTokens }: AnswerUsage) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedPromptTokens },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  };
}

export interface ResponseState {
  readonly status: ResponseStatus;
  readonly output: readonly OutputItem[];
  readonly usage: AnswerUsage | undefined;
  readonly error?: { readonly code: string; readonly message: string };
}

/** OpenAI's response object, as far as it is known. */
export function responseObject(base: { id: string; createdAt: number; model: string }, asked: ResponseParameters, { status, output, usage, error }: ResponseState) {
  return {
    id: base.id,
    object: 'response',
    created_at: base.createdAt,
    status,
    background: false,
    error: error ?? null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    model: base.model,
    output,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: 'default',
    store: false,
    truncation: 'disabled',
    usage: usage ? responseUsage(usage) : null,
    ...echoed(asked),
  };
}

const DEFAULTS = { instructions: null, max_output_tokens: null, temperature: 1, tool_choice: 'auto', tools: [], top_logprobs: 0, top_p: 1, user: null, metadata: {}, parallel_tool_calls: true } as const;

/** What was asked for, with its defaults. */
function echoed(asked: ResponseParameters) {
  const names = Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[];
  return { ...Object.fromEntries(names.map((name) => [name, asked[name] ?? DEFAULTS[name]])), text: { format: asked.text?.format ?? { type: 'text' } } };
}
