import type { Decision, FinishReason, GenerateRequest, Priority, SamplingOptions, StageEvent, Token, ToolCall, TtftHint } from '@mlx-serving/contracts';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SamplingOptionsSchema } from '@mlx-serving/contracts';

/** The door a request came through. */
export type Route = 'chat' | 'completions' | 'responses' | 'grpc';

/** One request, whichever door it came through. */
export interface GenerationRequest {
  readonly requestId: string;
  readonly route: Route;
  readonly model: string;
  readonly input: Extract<GenerateRequest['input'], { case: string }>;
  readonly sampling: MessageInitShape<typeof SamplingOptionsSchema> | SamplingOptions;
  readonly user: string | undefined;
  /** Default: NORMAL. */
  readonly priority?: Priority | undefined;
  /** Tenants share the queue fairly, and see nothing of each other's cached prompts. Default: '', the tenant of those without a key. */
  readonly tenant?: string | undefined;
  /** Longest time from arrival to the last token. Default, and most: `requests.timeout_ms` of runtime.yaml. */
  readonly deadlineMs?: number | undefined;
  /** What the decision hangs on, where the door chose something else than the user. Default: the user, else the request id. */
  readonly routingKey?: string | undefined;
  /** A header of the request, by its name in lower case; canaries may be routed by one. */
  readonly header?: ((name: string) => string | undefined) | undefined;
  readonly ttftHint?: Pick<TtftHint, 'allowSpeculation'>;
  /** Called once with what it cost, however it ended. */
  readonly onUsage?: ((usage: Pick<GenerationResult, 'promptTokens' | 'completionTokens'>) => void) | undefined;
  /** The place among the answers to one request, from 0. Default: 0. */
  readonly choice?: number;
  /** What was decided already for another answer to the same request. */
  readonly decision?: Decision;
  /** `performance.now()` at its arrival. */
  readonly arrivedAt: number;
}

/** Stops and goes on reading from the worker, so that a slow reader slows its own stream down and fills no memory. */
export interface Flow {
  pause(): void;
  resume(): void;
}

export interface GenerationResult {
  readonly finishReason: FinishReason;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly ttftMs: number | undefined;
  /** Prompt tokens that the worker did not compute again. */
  readonly cachedPromptTokens: number;
  readonly toolCalls: readonly ToolCall[];
  readonly stages: readonly StageEvent[];
}

/** Where a generation goes: the answer of one door. Its methods are called in this order and must not wait. */
export interface GenerationSink {
  decided(decision: Decision): void;
  /** It has to wait for a place. @param position how many are before it now */
  queued?(position: () => number): void;
  /** Called at each arrival of tokens, first of all with the model that serves. */
  tokens(tokens: readonly Token[], model: string, flow: Flow): void;
  finished(result: GenerationResult, model: string): void;
}
