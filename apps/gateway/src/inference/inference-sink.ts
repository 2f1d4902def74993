import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Decision, FinishReason, type GenerateRequest, type GenerateResponse, GenerateResponseSchema, type Token, type ToolCallSchema } from '@mlx-serving/contracts';
import { Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import { BackPressure, type WriteStall } from '../generation/back-pressure.ts';
import type { Flow, GenerationResult, GenerationSink } from '../generation/generation-types.ts';
import { decisionHeaders } from '../openai/decision-headers.ts';
import { type ForcedCall, ForcedCallReader } from '../openai/forced-call.ts';

export type GenerateCall = ServerWritableStream<GenerateRequest, GenerateResponse>;

/** Writes the answers to one request to a gRPC call: the decision, the tokens as they come, and how each answer ended. */
export class InferenceSink {
  readonly #call: GenerateCall;
  readonly #forced: ForcedCall | undefined;
  readonly #pressure: BackPressure;
  #left: number;
  #stamped = false;

  constructor(call: GenerateCall, choices: number, forced: ForcedCall | undefined, stall?: WriteStall) {
    this.#call = call;
    this.#pressure = new BackPressure(stall);
    this.#left = choices;
    this.#forced = forced;
  }

  choice(index: number): GenerationSink {
    // A forced call is read out of the text, and given whole at the end.
    const forced = this.#forced && { reader: new ForcedCallReader(this.#forced), parts: [] as string[] };
    return {
      decided: (decision) => this.#decided(index, decision),
      tokens: (tokens, _model, flow) => {
        const text = tokens.map((token) => token.text).join('');
        if (forced) forced.parts.push(forced.reader.add(text));
        this.#tokens(index, forced ? '' : text, tokens, flow);
      },
      finished: (result) => {
        const calls = forced ? callOf(forced.reader, forced.parts, result) : [...result.toolCalls];
        this.#finished(index, result, calls);
      },
    };
  }

  release(): void {
    this.#pressure.release();
  }

  #decided(index: number, decision: Decision): void {
    // A request that moves to another variant is decided anew; its metadata is out by then.
    if (index !== 0 || this.#stamped) return;
    this.#stamped = true;
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(decisionHeaders(decision))) metadata.set(name, value);
    this.#call.sendMetadata(metadata);
    this.#write({ case: 'decision', value: decision });
  }

  #tokens(index: number, text: string, tokens: readonly Token[], flow: Flow): void {
    this.#pressure.follow(index, flow);
    const likely = tokens.some(({ logprob }) => logprob !== undefined) ? [...tokens] : [];
    const keepsUp = this.#write({ case: 'generated', value: { text, tokenIds: tokens.map(({ id }) => id), index, tokens: likely } });
    if (!keepsUp) this.#pressure.hold(this.#call);
  }

  #finished(index: number, { finishReason, promptTokens, completionTokens, cachedPromptTokens, ttftMs, stages }: GenerationResult, toolCalls: ToolCallInit[]): void {
    this.#pressure.ended(index);
    const usage = { promptTokens, completionTokens, cachedPromptTokens };
    this.#write({ case: 'finished', value: { finishReason, usage, ttftMs: ttftMs ?? 0, stages: [...stages], index, toolCalls } });
    if (--this.#left === 0) this.#call.end();
  }

  #write(event: NonNullable<MessageInitShape<typeof GenerateResponseSchema>['event']>): boolean {
    return this.#call.write(create(GenerateResponseSchema, { event }));
  }
}

type ToolCallInit = MessageInitShape<typeof ToolCallSchema>;

function callOf(reader: ForcedCallReader, parts: readonly string[], { finishReason }: GenerationResult): ToolCallInit[] {
  const rest = reader.finish(finishReason !== FinishReason.LENGTH);
  return reader.name === undefined ? [] : [{ id: reader.id, name: reader.name, argumentsJson: parts.join('') + rest }];
}
