import type { ClientReadableStream } from '@grpc/grpc-js';
import { type Decision, FinishReason, type GenerateFinished, type GenerateResponse, type StageEvent } from '@mlx-serving/contracts';
import { InferenceError } from './inference-error.ts';

/** Some new text, and the tokens that it was made of. The text is empty inside a character of several tokens. */
export interface Chunk {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

/** How a generation ended. */
export interface GenerationEnd {
  readonly finishReason: 'stop' | 'length';
  readonly usage: { readonly promptTokens: number; readonly completionTokens: number };
  /** From the request's arrival at the gateway to its first token. */
  readonly ttftMs: number;
}

/** What was decided about the request, once: the same as in the gateway's log and in its reports. */
export type GenerationDecision = Pick<Decision, 'requestId' | 'variant' | 'variantReason' | 'enabledFlags' | 'flagReasons' | 'flagsRevision' | 'routingRevision'>;

/**
 * One generation. Iterate over it once; leaving the loop early cancels the generation.
 * Reading slowly slows the generation down.
 */
export class Generation implements AsyncIterable<Chunk> {
  readonly #call: ClientReadableStream<GenerateResponse>;
  readonly #onStages: (streamId: string, stages: readonly StageEvent[]) => void;
  #decision: GenerationDecision | undefined;
  #end: GenerationEnd | undefined;
  /** How the call failed, perhaps before anybody reads it: its stream then looks as one that ended. */
  #failure: InferenceError | undefined;

  /** @param onStages told once, when the answer has ended, what happened on the way to its first token */
  constructor(call: ClientReadableStream<GenerateResponse>, onStages: (streamId: string, stages: readonly StageEvent[]) => void = () => undefined) {
    this.#call = call;
    // Without a listener a failure that nobody reads yet would end the process.
    call.on('error', (error) => (this.#failure = InferenceError.from(error)));
    this.#onStages = onStages;
  }

  /** Known from the first chunk on, and when the generation failed after it was decided. */
  get decision(): GenerationDecision | undefined {
    return this.#decision;
  }

  /** Known when the loop has come to its end. */
  get result(): GenerationEnd | undefined {
    return this.#end;
  }

  /** @throws InferenceError */
  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    try {
      for await (const { event } of this.#call as AsyncIterable<GenerateResponse>) {
        if (event.case === 'decision') this.#decision = event.value;
        else if (event.case === 'generated') yield { text: event.value.text, tokenIds: event.value.tokenIds };
        else if (event.case === 'finished') {
          this.#end = toEnd(event.value);
          this.#onStages(this.#decision?.requestId ?? '', event.value.stages);
        }
      }
      if (this.#failure) throw this.#failure;
    } catch (error) {
      throw InferenceError.from(error);
    } finally {
      this.#call.cancel();
    }
  }

  /** Reads to the end. @throws InferenceError */
  async text(): Promise<string> {
    const parts: string[] = [];
    for await (const { text } of this) parts.push(text);
    return parts.join('');
  }

  cancel(): void {
    this.#call.cancel();
  }
}

function toEnd({ finishReason, usage, ttftMs }: GenerateFinished): GenerationEnd {
  return {
    finishReason: finishReason === FinishReason.LENGTH ? 'length' : 'stop',
    usage: { promptTokens: usage?.promptTokens ?? 0, completionTokens: usage?.completionTokens ?? 0 },
    ttftMs,
  };
}
