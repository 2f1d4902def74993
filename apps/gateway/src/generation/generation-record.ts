import { create } from '@bufbuild/protobuf';
import { type Decision, DecisionSchema, FinishReason, type StageEvent, type ToolCall } from '@mlx-serving/contracts';
import { promptShape, type PromptShape } from '../balancing/prefix-keys.ts';
import type { RequestTrace } from '../telemetry/request-traces.ts';
import type { GenerationRequest, GenerationResult } from './generation-types.ts';
import { OutputShape } from './output-shape.ts';

/** What is known of one generation so far; when it is over, the log line, the metrics and the report are made of it. */
export class GenerationRecord {
  /** As its worker gets it: another one only when a request that has no token yet is moved to the baseline, as `decision`. */
  request: GenerationRequest;
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

  /** What the client asked for, whatever its variant makes of it. */
  readonly #asked: GenerationRequest;
  #prompt: PromptShape | undefined;

  /** Present while the request is traced. */
  readonly trace: RequestTrace | undefined;

  /** @param model the one that its variant has in place of the one that was asked for. Default: the latter */
  constructor(asked: GenerationRequest, decision: Decision, trace?: RequestTrace, model = asked.model) {
    this.#asked = asked;
    this.request = model === asked.model ? asked : { ...asked, model };
    this.decision = decision;
    this.trace = trace;
    this.model = model;
  }

  /** Takes it back from the canary before its first token: it asks the baseline for what the client asked for. */
  moveToBaseline(): void {
    this.request = this.#asked;
    this.model = this.#asked.model;
    this.#prompt = undefined;
    this.decision = create(DecisionSchema, { ...this.decision, variant: 'baseline', variantReason: 'MOVED_TO_BASELINE' });
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
