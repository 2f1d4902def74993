import { create } from '@bufbuild/protobuf';
import { type GenerateRequest, SamplingOptionsSchema } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { planTools } from '../chat/chat-tools.ts';
import { errors } from '../errors.ts';
import { isDeeper } from '../http/read-json-body.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { assertChoices } from '../openai/answer-request.ts';
import type { ForcedCall, ToolDefinition } from '../openai/forced-call.ts';
import { LONGEST_MODEL, LONGEST_USER } from '../openai/request-bounds.ts';

/** What the call says of one generation. */
export type InferenceRequest = Pick<GenerationRequest, 'model' | 'input' | 'sampling'>;

/** @throws INVALID_REQUEST when there is no input or too much of it, when JSON in it cannot be read, or when the options do not go together */
export function planInference(request: GenerateRequest, { max_messages, max_choices, max_body_depth }: RuntimeFile['requests']): { requests: InferenceRequest[]; forced: ForcedCall | undefined } {
  const { model, input, sampling = create(SamplingOptionsSchema), n } = request;
  if (input.case === undefined) throw errors.INVALID_REQUEST({ message: 'Send a prompt or a conversation.' }, { param: 'input' });
  if (input.case === 'conversation' && input.value.messages.length > max_messages) {
    throw errors.INVALID_REQUEST({ message: `The conversation has more than ${max_messages} messages.` }, { param: 'conversation' });
  }
  if (request.model.length > LONGEST_MODEL) throw errors.INVALID_REQUEST({ message: `The model's name has more than ${LONGEST_MODEL} characters.` }, { param: 'model' });
  if (request.user.length > LONGEST_USER) throw errors.INVALID_REQUEST({ message: `The user has more than ${LONGEST_USER} characters.` }, { param: 'user' });
  const count = Math.max(1, n);
  assertChoices(count, max_choices, 'n');
  const forced = forcedBy(request, max_body_depth);
  if (sampling.jsonSchema !== '') assertSchema(sampling.jsonSchema, max_body_depth);
  sampling.temperature ??= 0;
  if (forced) sampling.jsonSchema = forced.jsonSchema;
  const { seed } = sampling;
  const samplings = Array.from({ length: count }, (_, choice) => (seed === undefined ? sampling : { ...sampling, seed: BigInt.asIntN(64, seed + BigInt(choice)) }));
  return { requests: samplings.map((own) => ({ model, input, sampling: own })), forced };
}

function forcedBy({ input, toolChoice }: GenerateRequest, depth: number): ForcedCall | undefined {
  if (input.case !== 'conversation') return undefined;
  // Read whether or not a call is forced: a worker must not be the first to find out that it cannot be.
  const tools = input.value.toolsJson.map((json) => readTool(json, depth));
  if (toolChoice === 'none') input.value.toolsJson = [];
  if (toolChoice === '' || toolChoice === 'none' || toolChoice === 'auto') return undefined;
  return planTools(tools, toolChoice, true).forced;
}

function readTool(json: string, depth: number): ToolDefinition {
  const tool = readObject(json, depth) as { function?: { name?: unknown } | null } | undefined;
  if (typeof tool?.function?.name === 'string') return tool.function as ToolDefinition;
  throw errors.INVALID_REQUEST({ message: `Each of tools_json must be {"type": "function", "function": {"name": …}}, of at most ${depth} levels.` }, { param: 'tools_json' });
}

function assertSchema(json: string, depth: number): void {
  if (readObject(json, depth) !== undefined) return;
  throw errors.INVALID_REQUEST({ message: `json_schema must be a JSON Schema, an object of at most ${depth} levels.` }, { param: 'json_schema' });
}

/** @returns undefined for what is no JSON object, or too deep for whoever has to write it again */
function readObject(json: string, depth: number): object | undefined {
  try {
    const value = JSON.parse(json) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) && !isDeeper(value, depth) ? value : undefined;
  } catch {
    return undefined;
  }
}
