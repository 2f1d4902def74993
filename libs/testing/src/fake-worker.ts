import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ServerWritableStream } from '@grpc/grpc-js';
import {
  FinishReason,
  SpeculationStatsSchema,
  WarmQueueStatsSchema,
  type TokenSchema,
  type ToolCallSchema,
  Worker,
  type WorkerGenerateRequest,
  type WorkerGenerateResponse,
  WorkerGenerateResponseSchema,
} from '@mlx-serving/contracts';
import { GrpcServer, ServiceError, silentLogger } from '@mlx-serving/service-kit';
import { until } from './until.ts';

type Event = NonNullable<MessageInitShape<typeof WorkerGenerateResponseSchema>['event']>;

/** One request at the fake worker, in the hands of the test. */
export class FakeGeneration {
  readonly request: WorkerGenerateRequest;
  readonly #call: ServerWritableStream<WorkerGenerateRequest, WorkerGenerateResponse>;
  readonly #over: Promise<ServiceError | undefined>;
  #settle: (error?: ServiceError) => void = () => undefined;
  #tokens = 0;
  cancelled = false;

  constructor(call: ServerWritableStream<WorkerGenerateRequest, WorkerGenerateResponse>) {
    this.request = call.request;
    this.timeLeftMs = Number(call.getDeadline()) - Date.now();
    this.#tokens = call.request.resumeTokenIds.length;
    this.#call = call;
    this.#over = new Promise((resolve) => (this.#settle = resolve));
    call.on('cancelled', () => {
      this.cancelled = true;
      this.#settle();
    });
  }

  /** @throws what `fail` was given */
  async over(): Promise<void> {
    const error = await this.#over;
    if (error) throw error;
  }

  /** Tokens of the answer that came from another worker. */
  get resumed(): readonly number[] {
    return this.request.resumeTokenIds;
  }

  accept(promptTokens = 7, model = this.request.model || 'fake'): this {
    this.#write({ case: 'accepted', value: { queuePosition: 0, promptTokens, model } });
    return this;
  }

  /** Sends one chunk. @returns false when the reader does not keep up */
  tokens(...texts: string[]): boolean {
    const tokens = texts.map((text) => ({ id: ++this.#tokens, text }));
    return this.#write({ case: 'chunk', value: { tokens } });
  }

  /** Sends one chunk of tokens that carry their log probabilities. */
  likelyTokens(...tokens: MessageInitShape<typeof TokenSchema>[]): this {
    this.#tokens += tokens.length;
    this.#write({ case: 'chunk', value: { tokens } });
    return this;
  }

  finish(finishReason = FinishReason.STOP, toolCalls: MessageInitShape<typeof ToolCallSchema>[] = []): void {
    const usage = { promptTokens: 7, completionTokens: this.#tokens };
    this.#write({ case: 'finished', value: { finishReason, usage, timings: { totalMs: 1 }, toolCalls } });
    this.#call.end();
    this.#settle();
  }

  /** Milliseconds from its arrival to the deadline that the caller gave. */
  readonly timeLeftMs: number;

  /** Ends as a call does whose connection broke. */
  lose(): void {
    this.#settle(new ServiceError('UNAVAILABLE', 'WORKER_LOST', 'lost'));
  }

  fail(error: ServiceError): void {
    this.#settle(error);
  }

  /** Resolves once the reader has taken what was written. */
  drained(): Promise<void> {
    return this.#call.writableNeedDrain ? new Promise((resolve) => this.#call.once('drain', resolve)) : Promise.resolve();
  }

  #write(event: Event): boolean {
    return this.#call.write(create(WorkerGenerateResponseSchema, { event }));
  }
}

const unused = (): never => {
  throw new Error('not part of this fake');
};

/** A worker without a model: by itself it answers every request with `script`, or leaves each to the test when there is none. */
export class FakeWorker {
  readonly generations: FakeGeneration[] = [];
  /** Requests that were announced with Prepare. */
  readonly prepared: string[] = [];
  /** Prompts that were put on the allowlist. */
  readonly allowed: string[] = [];
  models: string[];
  script: readonly string[] | undefined;
  /** While set it answers no call besides those that stand, as a process that was stopped. */
  frozen = false;
  /** While set every request ends with a fault of the worker's own. */
  faulty = false;
  port = 0;
  #server: GrpcServer | undefined;

  constructor({ script, models = ['fake'] }: { script?: readonly string[]; models?: string[] } = {}) {
    this.script = script;
    this.models = models;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts, again on the same port after a stop. */
  async start(): Promise<this> {
    this.#server = new GrpcServer(silentLogger).add(Worker, {
      generate: (call) => this.#generate(call),
      tokenize: () => Promise.resolve({ tokenIds: [1, 2, 3] }),
      listModels: async () => (this.frozen ? await new Promise<never>(() => undefined) : { models: this.models.map((id, index) => ({ id, contextLength: 512, loadedAt: BigInt(1_700_000_000 + index) })) }),
      stats: (call) => void call.write({ $typeName: 'mlx_serving.v1.StatsResponse', ...noStats, workerId: this.address }),
      drain: () => Promise.resolve({ remainingStreams: 0 }),
      loadModel: unused,
      unloadModel: unused,
      pinModel: unused,
      prepareKv: unused,
      allowSpeculation: ({ input }) => {
        if (input.case === 'prompt') this.allowed.push(input.value);
        return Promise.resolve({ allowlisted: BigInt(this.allowed.length) });
      },
      prepare: ({ requestId }) => {
        this.prepared.push(requestId);
        return Promise.resolve({ warming: true, promptTokens: 3, ttlMs: 800 });
      },
      setLimits: unused,
    });
    this.port = await this.#server.start('127.0.0.1', this.port);
    return this;
  }

  /** Goes away at once, as a process that was killed does. */
  async kill(): Promise<void> {
    await this.#server?.stop(0);
    this.#server = undefined;
  }

  /** The request with this number, from 0, once it has come. */
  async generation(index: number): Promise<FakeGeneration> {
    await until(() => this.generations.length > index);
    return this.generations[index] as FakeGeneration;
  }

  async #generate(call: ServerWritableStream<WorkerGenerateRequest, WorkerGenerateResponse>): Promise<void> {
    const generation = new FakeGeneration(call);
    this.generations.push(generation);
    if (call.request.model !== '' && !this.models.includes(call.request.model)) {
      throw new ServiceError('NOT_FOUND', 'MODEL_NOT_FOUND', `model '${call.request.model}' is not served here`);
    }
    if (this.faulty) throw new ServiceError('INTERNAL', 'STEP_FAILED', 'the model failed');
    if (this.script) {
      generation.accept();
      for (const text of this.script) generation.tokens(text);
      generation.finish();
    }
    await generation.over();
  }
}

const noStats = {
  workerId: '',
  runningRequests: 0,
  queuedRequests: 0,
  residentMemoryBytes: 0n,
  activeMemoryBytes: 0n,
  requestsTotal: 0n,
  failedRequestsTotal: 0n,
  cancelledRequestsTotal: 0n,
  generatedTokensTotal: 0n,
  uptimeSeconds: 1,
  queuedTokens: 0n,
  restarts: 0,
  heartbeatAgeMs: 0,
  draining: false,
  acceleratorEnabled: true,
  warmQueue: create(WarmQueueStatsSchema, { size: 1, maxSize: 100, queued: 8n, warmed: 6n }),
  speculation: create(SpeculationStatsSchema, { hits: 3n, misses: 1n, candidates: 2n }),
  pid: 1,
} as const;
