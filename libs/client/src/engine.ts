import { Metadata } from '@grpc/grpc-js';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createServiceClient, type GenerateRequestSchema, Inference, Priority, type SamplingOptionsSchema, type ServiceClient } from '@mlx-serving/contracts';
import { clientEnvironment } from './config.ts';
import { Generation } from './generation.ts';
import { InferenceError } from './inference-error.ts';
import { type TtftHint, TtftPipeline } from './ttft-pipeline.ts';

export interface EngineOptions {
  /** The gateway's gRPC door, `host:port`. Default: MLX_SERVING_GATEWAY_ADDRESS, else `127.0.0.1:50051`. */
  readonly address?: string;
  /** Where the gateway asks for an API key. Default: MLX_SERVING_API_KEY, else none is sent. */
  readonly apiKey?: string;
}

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** How tokens are drawn. */
interface Sampling {
  /** Most tokens to generate. Default: 256. */
  readonly maxTokens?: number;
  /** 0 is greedy. Default: 0. */
  readonly temperature?: number;
  /** Above 0 and at most 1. Default: 1. */
  readonly topP?: number;
  readonly seed?: number | bigint;
  /** At most four strings that end the generation; they are not part of the text. */
  readonly stop?: readonly string[];
  /** Draws from so many of the likeliest tokens only. Default: 0, all. */
  readonly topK?: number;
  /** Least probability as a share of the likeliest token's. Default: 0. */
  readonly minP?: number;
  /** Divides the logits of recent tokens. Default: 1. */
  readonly repetitionPenalty?: number;
  /** -2 to 2. Default: 0. */
  readonly presencePenalty?: number;
  /** -2 to 2. Default: 0. */
  readonly frequencyPenalty?: number;
  /** By token id, -100 to 100. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** The answer is JSON that this schema allows. */
  readonly jsonSchema?: Readonly<Record<string, unknown>>;
}

interface Request extends Sampling {
  /** Default: the gateway's default model. */
  readonly model?: string;
  /** The same user gets the same variant and the same flags. */
  readonly user?: string;
  /** Default: made by the gateway. */
  readonly requestId?: string;
  /** Cancels the generation when it aborts. */
  readonly signal?: AbortSignal;
  /** Longest time from now to the last token. Default: the gateway's own limit. */
  readonly deadlineMs?: number;
  /** What is known of the prompt, for the TTFT accelerator. */
  readonly ttftHint?: Partial<TtftHint>;
}

/** A prompt or messages, and how to draw. */
export type GenerateOptions = Request & ({ readonly prompt: string; readonly messages?: never } | { readonly messages: readonly Message[]; readonly prompt?: never });

export interface Engine {
  /** Starts a generation; iterate over what it returns. Errors come out of the iteration. */
  generate(options: GenerateOptions): Generation;
  /** Names of the models that are served. @throws InferenceError */
  models(): Promise<string[]>;
  /** The TTFT accelerator behind it: events, statistics, the allowlist. */
  readonly ttft: TtftPipeline;
  /** Ends the connection and what still runs on it. */
  close(): void;
}

/** Connects to a gateway. The connection is made with the first call, and comes back by itself. */
export function createEngine(options: EngineOptions = {}): Engine {
  const { address, apiKey } = { ...clientEnvironment(), ...options };
  const client: ServiceClient<typeof Inference> = createServiceClient(Inference, address);
  const ttft = new TtftPipeline(client, { metadata: () => toMetadata(apiKey) });
  return {
    ttft,
    generate: (options) => new Generation(client.generate(toRequest(options), toSettings(options, apiKey)), (streamId, stages) => ttft.report(streamId, stages)),
    models: async () => {
      try {
        return (await client.listModels({}, { metadata: toMetadata(apiKey) })).models.map(({ id }) => id);
      } catch (error) {
        throw InferenceError.from(error);
      }
    },
    close: () => {
      ttft.close();
      client.close();
    },
  };
}

function toRequest({ model = '', prompt, messages, user = '', ttftHint, ...sampling }: GenerateOptions): MessageInitShape<typeof GenerateRequestSchema> {
  return {
    model,
    user,
    input: prompt === undefined ? { case: 'conversation', value: { messages: messages.map((message) => ({ ...message })) } } : { case: 'prompt', value: prompt },
    sampling: toSampling(sampling),
    ...(ttftHint ? { ttftHint: toHint(ttftHint) } : {}),
  };
}

function toSampling({ maxTokens, temperature, topP, seed, stop, topK, minP, repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, jsonSchema }: Sampling): MessageInitShape<typeof SamplingOptionsSchema> {
  const asked = { maxTokens, temperature, topP, topK, minP, repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, seed: seed === undefined ? undefined : BigInt(seed), jsonSchema: jsonSchema && JSON.stringify(jsonSchema) };
  return { ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)), stop: [...(stop ?? [])] };
}

const PRIORITIES = { high: Priority.INTERACTIVE, normal: Priority.NORMAL, low: Priority.BATCH };

function toHint({ allowSpeculation = false, estimatedTokens = 0, priority = 'normal' }: Partial<TtftHint>) {
  return { allowSpeculation, estimatedTokens, priority: PRIORITIES[priority] };
}

function toSettings({ ttftHint, requestId = ttftHint?.streamId, signal, deadlineMs }: GenerateOptions, apiKey: string | undefined) {
  const metadata = toMetadata(apiKey);
  if (requestId !== undefined) metadata.set('x-request-id', requestId);
  return { metadata, ...(signal ? { signal } : {}), ...(deadlineMs === undefined ? {} : { deadlineMs }) };
}

function toMetadata(apiKey: string | undefined): Metadata {
  const metadata = new Metadata();
  if (apiKey !== undefined) metadata.set('authorization', `Bearer ${apiKey}`);
  return metadata;
}
