import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Decision, type GenerateRequest, type GenerateResponse, GenerateResponseSchema, type Token } from '@mlx-serving/contracts';
import { Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import type { Flow, GenerationResult, GenerationSink } from '../generation/generation-types.ts';
import { decisionHeaders } from '../openai/decision-headers.ts';

export type GenerateCall = ServerWritableStream<GenerateRequest, GenerateResponse>;

/** Writes a generation to a gRPC call: the decision, the tokens as they come, and how it ended. */
export class InferenceSink implements GenerationSink {
  readonly #call: GenerateCall;

  constructor(call: GenerateCall) {
    this.#call = call;
  }

  decided(decision: Decision): void {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(decisionHeaders(decision))) metadata.set(name, value);
    this.#call.sendMetadata(metadata);
    this.#write({ case: 'decision', value: decision });
  }

  tokens(tokens: readonly Token[], _model: string, flow: Flow): void {
    const value = { text: tokens.map((token) => token.text).join(''), tokenIds: tokens.map((token) => token.id) };
    if (this.#write({ case: 'generated', value })) return;
    flow.pause();
    this.#call.once('drain', () => flow.resume());
  }

  finished({ finishReason, promptTokens, completionTokens, ttftMs, stages }: GenerationResult): void {
    this.#write({ case: 'finished', value: { finishReason, usage: { promptTokens, completionTokens }, ttftMs: ttftMs ?? 0, stages: [...stages] } });
    this.#call.end();
  }

  #write(event: NonNullable<MessageInitShape<typeof GenerateResponseSchema>['event']>): boolean {
    return this.#call.write(create(GenerateResponseSchema, { event }));
  }
}
