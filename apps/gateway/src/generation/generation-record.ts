import { type Decision, FinishReason, type StageEvent, type ToolCall } from '@mlx-serving/contracts';
import { promptShape, type PromptShape } from '../balancing/prefix-keys.ts';
import type { RequestTrace } from '../telemetry/request-traces.ts';
import type { GenerationRequest, GenerationResult } from './generation-types.ts';
import { OutputShape } from './output-shape.ts';

/** What is known of one generation so far; when it is over, the log line, the metrics and the report are made of it. */
export class GenerationRecord {
  readonly request: GenerationRequest;
  /** Another one only when a request that has no token yet is moved to the baseline. */
  decision: Decision;
  readonly shape = new OutputShape();
  readonly startedAtMs = Date.now();
  /** `host:port` of the worker that has it. */
  worker = '';
  model: string;
  promptTokens = 0;
  completionTokens = 0;
  cachedPromptTokens = 0;
  toolCalls: readonly ToolCall[] = [];
  stages: readonly StageEvent[] = [];
  /** How long it waited for admission; undefined while it does. */
  queuedMs: number | undefined;
  /** Milliseconds from the arrival to the first token. */
  ttftMs: number | undefined;
  finishReason = FinishReason.UNSPECIFIED;
  /** Tokens that the sink has: what a continuation on another worker goes on from. At most max_tokens. */
  readonly sentTokenIds: number[] = [];
  /** `performance.now()` at which it must be over. */
  deadlineAt = Number.POSITIVE_INFINITY;

  #prompt: PromptShape | undefined;

  /** Present while the request is traced. */
  readonly trace: RequestTrace | undefined;

  constructor(request: GenerationRequest, decision: Decision, trace?: RequestTrace) {
    this.request = request;
    this.decision = decision;
    this.trace = trace;
    this.model = request.model;
  }

  /** The prompt as balancing and admission see it. */
  get prompt(): PromptShape {
    return (this.#prompt ??= promptShape(this.request));
  }

  get durationMs(): number {
    return performance.now() - this.request.arrivedAt;
  }

  get result(): GenerationResult {
    const { finishReason, promptTokens, completionTokens, ttftMs, cachedPromptTokens, toolCalls, stages } = this;
    return { finishReason, promptTokens, completionTokens, ttftMs, cachedPromptTokens, toolCalls, stages };
  }
}
