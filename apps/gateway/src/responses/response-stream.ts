import type { Token } from '@mlx-serving/contracts';
import type { ServiceError } from '@mlx-serving/service-kit';
import type { GenerationResult } from '../generation/generation-types.ts';
import type { AnswerUsage, StreamFormat } from '../openai/answer-format.ts';
import { ForcedCallReader } from '../openai/forced-call.ts';
import type { ChatLogprob } from '../openai/logprobs.ts';
import { toOpenAiError } from '../openai/openai-error.ts';
import { callsOf, logprobsOf, type ResponseFormatOptions } from './response-items.ts';
import { newId, type OutputItem, outputText, responseObject, type ResponseState, statusOfResult } from './response-object.ts';

type CallItem = Extract<OutputItem, { type: 'function_call' }>;

/** The typed events of one response, numbered. */
export class ResponseStream implements StreamFormat {
  readonly #base: { id: string; createdAt: number; model: string };
  readonly #options: ResponseFormatOptions;
  readonly #output: OutputItem[] = [];
  readonly #texts: string[] = [];
  readonly #logprobs: ChatLogprob[] = [];
  readonly #forced: ForcedCallReader | undefined;
  #sequence = 0;
  #status: 'completed' | 'incomplete' = 'completed';
  /** The item that is being written, and what comes before the text of its deltas. */
  #item: { readonly id: string; readonly head: string } | undefined;

  constructor(base: { id: string; createdAt: number; model: string }, options: ResponseFormatOptions) {
    this.#base = base;
    this.#options = options;
    if (options.forced) this.#forced = new ForcedCallReader(options.forced);
  }

  tokens(_choice: number, tokens: readonly Token[]): string {
    if (this.#forced) return this.#begin() + this.#callTokens(this.#forced, tokens);
    let events = this.#begin() + this.#openMessage();
    for (const token of tokens) {
      const logprobs = logprobsOf([token], this.#options);
      if (token.text === '' && logprobs.length === 0) continue;
      this.#texts.push(token.text);
      this.#logprobs.push(...logprobs);
      events += this.#delta(token.text, `,"logprobs":${JSON.stringify(logprobs)}`);
    }
    return events;
  }

  ended(_choice: number, result: GenerationResult): string {
    this.#status = statusOfResult(result);
    let events = this.#begin();
    const calls = callsOf(result, this.#options);
    if (this.#forced) events += this.#endForced(this.#forced);
    else if (this.#item || calls.length === 0) events += this.#openMessage() + this.#endMessage();
    for (const call of calls) events += this.#wholeCall(call);
    return events;
  }

  closing(usage: AnswerUsage): string {
    return this.#event(`response.${this.#status}`, { response: this.#response({ status: this.#status, output: this.#output, usage }) });
  }

  failed(thrown: ServiceError): string {
    const { error } = toOpenAiError(thrown);
    const failure = { code: error.code ?? error.type, message: error.message };
    const response = this.#response({ status: 'failed', output: this.#output, usage: undefined, error: failure });
    return this.#begin() + this.#event('response.failed', { response }) + this.#event('error', { ...failure, param: error.param });
  }

  #begin(): string {
    if (this.#sequence > 0) return '';
    const response = this.#response({ status: 'in_progress', output: [], usage: undefined });
    return this.#event('response.created', { response }) + this.#event('response.in_progress', { response });
  }

  #openMessage(): string {
    if (this.#item) return '';
    const id = this.#openItem('msg', 'response.output_text.delta', ',"content_index":0');
    const item = { id, type: 'message', status: 'in_progress', role: 'assistant', content: [] };
    return this.#event('response.output_item.added', { output_index: this.#output.length, item }) + this.#event('response.content_part.added', { ...this.#place(id), content_index: 0, part: outputText('', []) });
  }

  #endMessage(): string {
    const { id } = this.#item!;
    const text = this.#texts.join('');
    const part = outputText(text, this.#logprobs);
    const place = { ...this.#place(id), content_index: 0 };
    return (
      this.#event('response.output_text.done', { ...place, text, logprobs: this.#logprobs }) +
      this.#event('response.content_part.done', { ...place, part }) +
      this.#endItem({ id, type: 'message', status: this.#status, role: 'assistant', content: [part] })
    );
  }

  #callTokens(call: ForcedCallReader, tokens: readonly Token[]): string {
    const text = call.add(tokens.map((token) => token.text).join(''));
    if (call.name === undefined) return '';
    this.#texts.push(text);
    return this.#openCall(call.id, call.name) + (text === '' ? '' : this.#delta(text, ''));
  }

  #endForced(call: ForcedCallReader): string {
    const rest = call.finish(this.#status === 'completed');
    if (call.name === undefined) return '';
    this.#texts.push(rest);
    const opening = this.#openCall(call.id, call.name) + (rest === '' ? '' : this.#delta(rest, ''));
    return opening + this.#endCall({ id: this.#item!.id, type: 'function_call', status: this.#status, call_id: call.id, name: call.name, arguments: this.#texts.join('') });
  }

  #wholeCall(call: CallItem): string {
    this.#item = undefined;
    const opening = this.#openCall(call.call_id, call.name);
    return opening + this.#delta(call.arguments, '') + this.#endCall({ ...call, id: this.#item!.id });
  }

  #openCall(callId: string, name: string): string {
    if (this.#item) return '';
    const id = this.#openItem('fc', 'response.function_call_arguments.delta', '');
    const item: CallItem = { id, type: 'function_call', status: 'in_progress', call_id: callId, name, arguments: '' };
    return this.#event('response.output_item.added', { output_index: this.#output.length, item });
  }

  #endCall(item: CallItem): string {
    return this.#event('response.function_call_arguments.done', { ...this.#place(item.id), name: item.name, arguments: item.arguments }) + this.#endItem(item);
  }

  #openItem(kind: 'msg' | 'fc', delta: string, place: string): string {
    const id = newId(kind);
    this.#item = { id, head: `event: ${delta}\ndata: {"type":"${delta}","item_id":"${id}","output_index":${this.#output.length}${place}` };
    return id;
  }

  #endItem(item: OutputItem): string {
    const event = this.#event('response.output_item.done', { output_index: this.#output.length, item });
    this.#output.push(item);
    return event;
  }

  #delta(text: string, more: string): string {
    return `${this.#item!.head},"delta":${JSON.stringify(text)}${more},"sequence_number":${this.#sequence++}}\n\n`;
  }

  #place(itemId: string) {
    return { item_id: itemId, output_index: this.#output.length };
  }

  #event(type: string, fields: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields, sequence_number: this.#sequence++ })}\n\n`;
  }

  #response(state: ResponseState) {
    return responseObject(this.#base, this.#options.asked, state);
  }
}
