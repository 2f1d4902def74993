import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { FinishReason, type TokenSchema, type WorkerGenerateResponse, WorkerGenerateResponseSchema } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';

interface Logprob {
  readonly token?: string;
  readonly logprob?: number;
  readonly top_logprobs?: readonly { readonly token: string; readonly logprob: number }[];
}

interface Choice {
  readonly text?: string | null;
  readonly delta?: { readonly content?: string | null; readonly tool_calls?: readonly ToolCallPart[] | null };
  readonly logprobs?: { readonly content?: readonly Logprob[] | null } | null;
  readonly finish_reason?: string | null;
}

/** What is read of a chunk. Every field may be missing: these servers differ. */
interface Chunk {
  readonly model?: string;
  readonly error?: { readonly message?: string } | string;
  readonly choices?: readonly Choice[];
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number; readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null } | null;
}

interface ToolCallPart {
  readonly index?: number;
  readonly id?: string | null;
  readonly function?: { readonly name?: string | null; readonly arguments?: string | null };
}

const FINISH_REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['stop', FinishReason.STOP],
  ['length', FinishReason.LENGTH],
  ['tool_calls', FinishReason.TOOL_CALLS],
  ['function_call', FinishReason.TOOL_CALLS],
]);
const MOST_CALLS = 128;
const MOST_TOKENS = 2 ** 31 - 1;

type Event = NonNullable<MessageInitShape<typeof WorkerGenerateResponseSchema>['event']>;

/** Turns the events of OpenAI's API into those of a worker. Such a server gives no token ids: ids here only tell texts apart. */
export class OpenAiAnswer {
  readonly #emit: (response: WorkerGenerateResponse) => void;
  readonly #calls: { id: string; name: string; argumentsJson: string }[] = [];
  #accepted = false;
  #tokens = 0;
  #usage: NonNullable<Chunk['usage']> | undefined;
  #finishReason: FinishReason | undefined;

  constructor(emit: (response: WorkerGenerateResponse) => void) {
    this.#emit = emit;
  }

  /** Whether a token has come. */
  get started(): boolean {
    return this.#tokens > 0;
  }

  /** @throws ServiceError when the server reports an error, SyntaxError when it is no JSON */
  take(data: string): void {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw errors.UPSTREAM_ERROR({}, { cause: chunk.error });
    if (!this.#accepted) this.#event({ case: 'accepted', value: { model: chunk.model ?? '' } });
    this.#accepted = true;
    this.#usage = chunk.usage ?? this.#usage;
    const [choice] = chunk.choices ?? [];
    if (choice) this.#takeChoice(choice);
  }

  /** Says how it ended. @returns false when the server never said so */
  finish(): boolean {
    if (this.#finishReason === undefined) return false;
    const usage = {
      promptTokens: countOf(this.#usage?.prompt_tokens) ?? 0,
      completionTokens: countOf(this.#usage?.completion_tokens) ?? this.#tokens,
      cachedPromptTokens: countOf(this.#usage?.prompt_tokens_details?.cached_tokens) ?? 0,
    };
    this.#event({ case: 'finished', value: { finishReason: this.#finishReason, usage, toolCalls: this.#calls.filter(Boolean) } });
    return true;
  }

  #takeChoice({ delta, text: plain, logprobs, finish_reason }: Choice): void {
    const text = delta?.content ?? plain ?? '';
    for (const part of delta?.tool_calls ?? []) this.#addCall(part);
    if (text !== '') this.#event({ case: 'chunk', value: { tokens: this.#toTokens(text, logprobs?.content ?? []) } });
    if (finish_reason) this.#finishReason = FINISH_REASONS.get(finish_reason) ?? FinishReason.STOP;
  }

  #event(event: Event): void {
    this.#emit(create(WorkerGenerateResponseSchema, { event }));
  }

  #addCall({ index = this.#calls.length, id, function: called }: ToolCallPart): void {
    if (!Number.isInteger(index) || index < 0 || index >= MOST_CALLS) throw new RangeError('A call has no place among the others.');
    const call = (this.#calls[index] ??= { id: '', name: '', argumentsJson: '' });
    call.id ||= id ?? '';
    call.name += called?.name ?? '';
    call.argumentsJson += called?.arguments ?? '';
  }

  #toTokens(text: string, logprobs: readonly Logprob[]): MessageInitShape<typeof TokenSchema>[] {
    const isExact = logprobs.map(({ token }) => token ?? '').join('') === text;
    if (!isExact) return [this.#toToken(text, logprobs[0])];
    return logprobs.map((one) => this.#toToken(one.token ?? '', one));
  }

  #toToken(text: string, found: Logprob | undefined): MessageInitShape<typeof TokenSchema> {
    this.#tokens++;
    const topLogprobs = (found?.top_logprobs ?? []).map(({ token, logprob }) => ({ id: idOf(token), text: token, logprob }));
    return { id: idOf(text), text, ...(found?.logprob === undefined ? {} : { logprob: found.logprob, topLogprobs }) };
  }
}

/** Of the usage; undefined for what is no number of tokens. */
function countOf(given: number | undefined): number | undefined {
  return Number.isInteger(given) && Number(given) >= 0 && Number(given) <= MOST_TOKENS ? given : undefined;
}

/** FNV-1a. */
function idOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
