import { createHash, hash } from 'node:crypto';
import { FinishReason, StreamOutcome, type StreamReport } from '@mlx-serving/contracts';
import type { ErrorCode, Logger, PlainLines, ServiceError } from '@mlx-serving/service-kit';
import type { GenerationRecord } from '../generation/generation-record.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { WrittenFlags } from './written-flags.ts';

const flagMembers = new WrittenFlags(({ enabledFlags, flagReasons }) => JSON.stringify({ flags: enabledFlags, flagReasons }).slice(1, -1));

/** Codes that are no fault of the servers: they never count as errors in a verdict (SPEC C2). */
const CLIENT_CODES: ReadonlySet<ErrorCode> = new Set([
  'INVALID_ARGUMENT',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'RESOURCE_EXHAUSTED',
  'UNIMPLEMENTED',
]);

/** Refused by admission, whatever the code: counted as an error, a refusal would ask for more of them. */
const ADMISSION_REASONS: ReadonlySet<string> = new Set(['DEADLINE_UNREACHABLE']);

export function outcomeOf(failure: ServiceError | undefined): StreamOutcome {
  if (!failure) return StreamOutcome.OK;
  if (failure.reason === 'CLIENT_GONE' || failure.reason === 'CLIENT_STALLED' || failure.reason === 'FEATURE_KILLED') return StreamOutcome.CANCELLED;
  return CLIENT_CODES.has(failure.code) || ADMISSION_REASONS.has(failure.reason) ? StreamOutcome.REJECTED : StreamOutcome.FAILED;
}

/** One finished request, for the controllers. */
export function toStreamReport(record: GenerationRecord, failure: ServiceError | undefined, gatewayId: string): StreamReport {
  const tokenGapP95Ms = record.shape.gapP95Ms;
  return {
    $typeName: 'mlx_serving.v1.StreamReport',
    decision: record.decision,
    gatewayId,
    workerId: record.worker,
    model: record.model,
    outcome: outcomeOf(failure),
    errorReason: failure?.reason ?? '',
    startedAtMs: BigInt(record.startedAtMs),
    durationMs: record.durationMs,
    usage: { $typeName: 'mlx_serving.v1.Usage', promptTokens: record.promptTokens, completionTokens: record.completionTokens, cachedPromptTokens: 0 },
    finishReason: record.finishReason,
    ...(record.ttftMs === undefined ? {} : { ttftMs: record.ttftMs }),
    ...(record.queuedMs === undefined ? {} : { queuedMs: record.queuedMs }),
    ...(tokenGapP95Ms === undefined ? {} : { tokenGapP95Ms }),
    repeatedOutput: record.shape.repeats,
    emptyOutput: !record.shape.hasText,
    choice: record.request.choice ?? 0,
    flagKeyHash: '',
  };
}

export function measureFinished(report: StreamReport, metrics: GatewayMetrics): void {
  const variant = report.decision?.variant ?? '';
  if (report.errorReason === 'CLIENT_STALLED') metrics.stalledClients.inc();
  metrics.generations.inc({ variant, outcome: outcomeName(report) });
  metrics.duration.observe({ variant }, report.durationMs / 1_000);
  if (report.ttftMs !== undefined) metrics.ttft.observe({ variant }, report.ttftMs / 1_000);
  metrics.tokens.inc({ kind: 'prompt' }, report.usage?.promptTokens ?? 0);
  metrics.tokens.inc({ kind: 'completion' }, report.usage?.completionTokens ?? 0);
}

/** The one line of a finished request. Of the prompt it holds the length and a hash, never the text. */
export function logFinished(record: GenerationRecord, report: StreamReport, failure: ServiceError | undefined, { lines, logger }: { lines: PlainLines; logger: Logger }): void {
  const { decision } = record;
  const fields = {
    requestId: decision.requestId,
    route: record.request.route,
    model: report.model,
    worker: report.workerId,
    outcome: outcomeName(report),
    ...(failure ? { reason: failure.reason } : {}),
    ttftMs: report.ttftMs,
    durationMs: report.durationMs,
    promptTokens: report.usage?.promptTokens,
    completionTokens: report.usage?.completionTokens,
    finishReason: FinishReason[report.finishReason]?.toLowerCase(),
    variant: decision.variant,
    variantReason: decision.variantReason,
    flagsRevision: String(decision.flagsRevision),
    routingRevision: String(decision.routingRevision),
    routingKeyHash: decision.routingKeyHash,
    ...fingerprint(record.request),
  };
  if (failure?.code === 'INTERNAL') logger.error({ ...fields, flags: decision.enabledFlags, flagReasons: decision.flagReasons, err: failure.cause ?? failure }, 'request failed');
  else lines.info(fields, 'request finished', flagMembers.of(decision));
}

function outcomeName({ outcome }: StreamReport): string {
  return (StreamOutcome[outcome] ?? '').toLowerCase();
}

function fingerprint({ input }: GenerationRequest): { promptLength: number; promptHash: string } {
  const [first = '', ...others] = input.case === 'prompt' ? [input.value] : input.value.messages.map((message) => message.content);
  if (others.length === 0) return { promptLength: first.length, promptHash: hash('sha256', first).slice(0, 16) };
  const whole = createHash('sha256').update(first);
  let promptLength = first.length;
  for (const text of others) {
    promptLength += text.length;
    whole.update(text);
  }
  return { promptLength, promptHash: whole.digest('hex').slice(0, 16) };
}
