import { toBinary } from '@bufbuild/protobuf';
import { type Conversation, type SamplingOptions, type WorkerGenerateRequest, WorkerGenerateRequestSchema } from '@mlx-serving/contracts';
import { WireWriter } from './wire-writer.ts';

const writer = new WireWriter();

/**
 * Writes a WorkerGenerateRequest. Requests that have what most have are written by hand; those with tool calls in their
 * messages, biases, a hint, or the beginning of an answer, by protobuf-es.
 */
export function encodeRequest(request: WorkerGenerateRequest): Buffer {
  return isPlain(request) ? plain(request) : Buffer.from(toBinary(WorkerGenerateRequestSchema, request));
}

function isPlain({ input, sampling, ttftHint, resumeTokenIds, $unknown }: WorkerGenerateRequest): boolean {
  if (ttftHint !== undefined || resumeTokenIds.length > 0 || $unknown !== undefined) return false;
  if (sampling !== undefined) for (const _ in sampling.logitBias) return false;
  if (input.case === 'prompt') return true;
  return input.case === 'conversation' && input.value.messages.every(({ toolCalls }) => toolCalls.length === 0);
}

/** Field numbers as in proto/mlx_serving/v1/worker.proto. */
function plain({ requestId, model, input, sampling, enabledFlags, priority, tenant }: WorkerGenerateRequest): Buffer {
  writer.begin();
  writer.text(1, requestId);
  writer.text(2, model);
  if (input.case === 'prompt') writer.item(3, input.value);
  else if (input.case === 'conversation') writeConversation(input.value);
  if (sampling) writeSampling(sampling);
  for (const flag of enabledFlags) writer.item(6, flag);
  writer.uint(7, priority);
  writer.text(8, tenant);
  return writer.finish();
}

function writeConversation({ messages, toolsJson }: Conversation): void {
  const conversation = writer.open(4);
  for (const { role, content, toolCallId } of messages) {
    const message = writer.open(1);
    writer.text(1, role);
    writer.text(2, content);
    writer.text(4, toolCallId);
    writer.close(message);
  }
  for (const tool of toolsJson) writer.item(2, tool);
  writer.close(conversation);
}

function writeSampling(sampling: SamplingOptions): void {
  const { maxTokens, temperature, topP, seed, stop, topK, minP, repetitionPenalty, presencePenalty, frequencyPenalty, topLogprobs, jsonSchema } = sampling;
  const start = writer.open(5);
  if (maxTokens !== undefined) writer.optionalUint(1, maxTokens);
  if (temperature !== undefined) writer.float(2, temperature);
  if (topP !== undefined) writer.float(3, topP);
  if (seed !== undefined) writer.optionalLong(4, seed);
  for (const text of stop) writer.item(5, text);
  writer.uint(6, topK);
  if (minP !== 0) writer.float(7, minP);
  if (repetitionPenalty !== undefined) writer.float(8, repetitionPenalty);
  if (presencePenalty !== 0) writer.float(9, presencePenalty);
  if (frequencyPenalty !== 0) writer.float(10, frequencyPenalty);
  if (topLogprobs !== undefined) writer.optionalUint(12, topLogprobs);
  writer.text(13, jsonSchema);
  writer.close(start);
}
