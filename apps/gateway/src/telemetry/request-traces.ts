import { type Attributes, type Context, context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { type Decision, type StageEvent, StreamOutcome, type StreamReport } from '@mlx-serving/contracts';
import { TraceSampler } from '@mlx-serving/service-kit';

type ReadHeader = (name: string) => string | undefined;

/** One request that is traced. */
export interface RequestTrace {
  /** Under which its parts are traced. */
  readonly context: Context;
  /** For the next service, as W3C Trace Context writes it. */
  readonly traceparent: string;
  /** @param stages what happened at the worker on the way to the first token (SPEC T5) */
  finished(report: StreamReport, stages?: readonly StageEvent[]): void;
}

/** The spans of requests: of those whose callers trace them, and of a share of the others. */
export class RequestTraces {
  readonly #sampler = new TraceSampler();
  readonly #tracer = trace.getTracer('mlx-serving.gateway');

  /** @returns the caller's context for what is traced, undefined for what is not */
  contextOf(header: ReadHeader): Context | undefined {
    if (!this.#sampler.takes(() => header('traceparent'))) return undefined;
    const carrier = { traceparent: header('traceparent'), tracestate: header('tracestate') };
    return propagation.extract(context.active(), carrier);
  }

  /** @returns undefined for a request that is not traced */
  begin(header: ReadHeader, route: string): RequestTrace | undefined {
    const caller = this.contextOf(header);
    if (!caller) return undefined;
    const span = this.#tracer.startSpan(`generate ${route}`, { kind: SpanKind.SERVER }, caller);
    const own = trace.setSpan(caller, span);
    const carrier: Record<string, string> = {};
    propagation.inject(own, carrier);
    return { context: own, traceparent: carrier['traceparent'] ?? '', finished: (report, stages = []) => finish(span, report, stages) };
  }
}

/** What a request was, without its words: as the log line of it. */
function finish(span: Span, { decision, model, workerId, outcome, errorReason, ttftMs, usage }: StreamReport, stages: readonly StageEvent[]): void {
  for (const { name, atMs, promptHash } of stages) span.addEvent(name, { 'mlx_serving.at_ms': atMs, ...(promptHash ? { 'mlx_serving.prompt_hash': promptHash } : {}) });
  span.setAttributes({ 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': model, 'mlx_serving.worker': workerId });
  if (usage) span.setAttributes({ 'gen_ai.usage.input_tokens': usage.promptTokens, 'gen_ai.usage.output_tokens': usage.completionTokens });
  if (decision) span.setAttributes(decisionAttributes(decision));
  if (ttftMs !== undefined) span.setAttribute('mlx_serving.ttft_ms', ttftMs);
  if (errorReason !== '') span.setAttribute('error.type', errorReason);
  if (outcome === StreamOutcome.FAILED) span.setStatus({ code: SpanStatusCode.ERROR, message: errorReason });
  span.end();
}

function decisionAttributes({ requestId, variant, variantReason, enabledFlags, flagsRevision }: Decision): Attributes {
  return {
    'mlx_serving.request_id': requestId,
    'mlx_serving.variant': variant,
    'mlx_serving.variant_reason': variantReason,
    'mlx_serving.flags': [...enabledFlags],
    'mlx_serving.flags_revision': String(flagsRevision),
  };
}
