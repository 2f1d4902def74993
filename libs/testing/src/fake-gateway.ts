import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Metadata, ServerWritableStream } from '@grpc/grpc-js';
import { FinishReason, type GenerateRequest, type GenerateResponse, GenerateResponseSchema, Inference, type StageEvent, TtftStatsResponseSchema } from '@mlx-serving/contracts';
import { GrpcServer, type ServiceError, silentLogger } from '@mlx-serving/service-kit';

type Event = NonNullable<MessageInitShape<typeof GenerateResponseSchema>['event']>;

/** The gateway's gRPC door without anything behind it: it answers with `script`, or says nothing while there is none. */
export class FakeGateway {
  readonly requests: GenerateRequest[] = [];
  script: readonly string[] | undefined;
  finishReason = FinishReason.STOP;
  failure: ServiceError | undefined;
  /** After so many tokens it says nothing more. */
  holdAfter = Infinity;
  /** Prompts that were put on the allowlist. */
  readonly allowed: string[] = [];
  stages: readonly Pick<StageEvent, 'name' | 'atMs' | 'promptHash' | 'confidence'>[] = [];
  cancelled = 0;
  /** Of every call, in order. */
  readonly authorizations: (string | undefined)[] = [];
  port = 0;
  #server: GrpcServer | undefined;

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<this> {
    this.#server = new GrpcServer(silentLogger).add(Inference, {
      generate: (call) => this.#generate(call),
      ttftStats: (call) => {
        this.#authorize(call);
        call.write(create(TtftStatsResponseSchema, { enabled: true, workers: 1, warmQueue: { size: 1, maxSize: 100, queued: 8n, warmed: 6n }, speculation: { hits: 3n, misses: 1n, candidates: 2n } }));
      },
      addToAllowlist: ({ input }, call) => {
        this.#authorize(call);
        if (input.case === 'prompt') this.allowed.push(input.value);
        return Promise.resolve({ workers: 1 });
      },
      listModels: (_, call) => {
        this.#authorize(call);
        return Promise.resolve({ models: [{ id: 'tiny', created: 1_700_000_000n }] });
      },
    });
    this.port = await this.#server.start('127.0.0.1', this.port);
    return this;
  }

  async kill(): Promise<void> {
    await this.#server?.stop(0);
    this.#server = undefined;
  }

  #generate(call: ServerWritableStream<GenerateRequest, GenerateResponse>): void {
    const write = (event: Event): boolean => call.write(create(GenerateResponseSchema, { event }));
    call.on('cancelled', () => this.cancelled++);
    this.#authorize(call);
    this.requests.push(call.request);
    if (this.failure) throw this.failure;
    if (!this.script) return;
    const requestId = call.metadata.get('x-request-id')[0]?.toString() ?? 'made';
    write({ case: 'decision', value: { requestId, variant: 'baseline', variantReason: 'CANARY_DISABLED', enabledFlags: ['warm'], flagsRevision: 12n } });
    for (const [index, text] of this.script.slice(0, this.holdAfter).entries()) write({ case: 'generated', value: { text, tokenIds: [index + 1] } });
    if (this.script.length > this.holdAfter) return;
    write({ case: 'finished', value: { finishReason: this.finishReason, usage: { promptTokens: 3, completionTokens: this.script.length }, ttftMs: 1.5, stages: [...this.stages] } });
    call.end();
  }

  #authorize({ metadata }: { readonly metadata: Metadata }): void {
    this.authorizations.push(metadata.get('authorization')[0]?.toString());
  }
}
