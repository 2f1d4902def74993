import type { GenerationAccepted, GenerationFinished, GenerationTimings, StageEvent, Usage, WorkerGenerateResponse } from '@mlx-serving/contracts';
import { WireReader } from './wire-reader.ts';

const reader = new WireReader();
/** A field's number and how it is written, as one number. */
const varint = (field: number): number => field << 3;
const fixed64 = (field: number): number => (field << 3) | 1;
const delimited = (field: number): number => (field << 3) | 2;
const ACCEPTED = delimited(1);
const FINISHED = delimited(3);

/**
 * The first and the last event of a stream, read by hand: field numbers as in proto/mlx_serving/v1/worker.proto.
 * @returns undefined for what else there is, and for an answer with tool calls: that is for protobuf-es
 */
export function decodeEvent(bytes: Buffer): WorkerGenerateResponse['event'] | undefined {
  reader.begin(bytes);
  const tag = reader.uint();
  if (tag !== ACCEPTED && tag !== FINISHED) return undefined;
  const end = reader.open(bytes.length);
  if (end !== bytes.length) return undefined;
  const event: WorkerGenerateResponse['event'] = tag === ACCEPTED ? { case: 'accepted', value: readAccepted(end) } : { case: 'finished', value: readFinished(end) };
  return reader.lost ? undefined : event;
}

function readAccepted(end: number): GenerationAccepted {
  const accepted: GenerationAccepted = { $typeName: 'mlx_serving.v1.GenerationAccepted', queuePosition: 0, promptTokens: 0, model: '' };
  while (reader.has(end)) {
    const tag = reader.uint();
    if (tag === varint(1)) accepted.queuePosition = reader.uint();
    else if (tag === varint(2)) accepted.promptTokens = reader.uint();
    else if (tag === delimited(3)) accepted.model = reader.text(end);
    else reader.lost = true;
  }
  return accepted;
}

function readFinished(end: number): GenerationFinished {
  const finished: GenerationFinished = { $typeName: 'mlx_serving.v1.GenerationFinished', finishReason: 0, toolCalls: [], stages: [] };
  while (reader.has(end)) {
    const tag = reader.uint();
    if (tag === varint(1)) finished.finishReason = reader.uint();
    else if (tag === delimited(2) && finished.usage === undefined) finished.usage = readUsage(reader.open(end));
    else if (tag === delimited(3) && finished.timings === undefined) finished.timings = readTimings(reader.open(end));
    else if (tag === delimited(5)) finished.stages.push(readStage(reader.open(end)));
    else reader.lost = true;
  }
  return finished;
}

function readUsage(end: number): Usage {
  const usage: Usage = { $typeName: 'mlx_serving.v1.Usage', promptTokens: 0, completionTokens: 0, cachedPromptTokens: 0 };
  while (reader.has(end)) {
    const tag = reader.uint();
    if (tag === varint(1)) usage.promptTokens = reader.uint();
    else if (tag === varint(2)) usage.completionTokens = reader.uint();
    else if (tag === varint(3)) usage.cachedPromptTokens = reader.uint();
    else reader.lost = true;
  }
  return usage;
}

function readTimings(end: number): GenerationTimings {
  const timings: GenerationTimings = { $typeName: 'mlx_serving.v1.GenerationTimings', queueMs: 0, tokenizeMs: 0, prefillMs: 0, totalMs: 0, firstEmitMs: 0 };
  while (reader.has(end)) {
    const tag = reader.uint();
    if (tag === fixed64(1)) timings.queueMs = reader.double();
    else if (tag === fixed64(2)) timings.tokenizeMs = reader.double();
    else if (tag === fixed64(3)) timings.prefillMs = reader.double();
    else if (tag === fixed64(4)) timings.totalMs = reader.double();
    else if (tag === fixed64(5)) timings.firstEmitMs = reader.double();
    else reader.lost = true;
  }
  return timings;
}

function readStage(end: number): StageEvent {
  const stage: StageEvent = { $typeName: 'mlx_serving.v1.StageEvent', name: '', atMs: 0, promptHash: '', confidence: 0 };
  while (reader.has(end)) {
    const tag = reader.uint();
    if (tag === delimited(1)) stage.name = reader.text(end);
    else if (tag === fixed64(2)) stage.atMs = reader.double();
    else if (tag === delimited(3)) stage.promptHash = reader.text(end);
    else if (tag === fixed64(4)) stage.confidence = reader.double();
    else reader.lost = true;
  }
  return stage;
}
