import { create } from '@bufbuild/protobuf';
import { type GenerateRequest, SamplingOptionsSchema } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { planTools } from '../chat/chat-tools.ts';
import { errors } from '../errors.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { assertChoices } from '../openai/answer-request.ts';
import type { ForcedCall, ToolDefinition } from '../openai/forced-call.ts';

/** What the call says of one generation. */
export type InferenceRequest = Pick<GenerationRequest, 'model' | 'input' | 'sampling'>;

/** @throws INVALID_REQUEST when there is no input or too much of it, or when the options do not go together */
export function planInference(request: GenerateRequest, { max_messages, max_choices }: RuntimeFile['requests']): { requests: InferenceRequest[]; forced: ForcedCall | undefined } {
  const { model, input, sampling = create(SamplingOptionsSchema), n } = request;
  if (input.case === undefined) throw errors.INVALID_REQUEST({ message: 'Send a prompt or a conversation.' }, { param: 'input' });
  if (input.case === 'conversation' && input.value.messages.length > max_messages) {
    throw errors.INVALID_REQUEST({ message: `The conversation has more than ${max_messages} messages.` }, { param: 'conversation' });
  }
  const count = Math.max(1, n);
  assertChoices(count, max_choices, 'n');
  const forced = forcedBy(request);
  sampling.temperature ??= 0;
  if (forced) sampling.jsonSchema = forced.jsonSchema;
  const { seed } = sampling;
  const samplings = Array.from({ length: count }, (_, choice) => (seed === undefined ? sampling : { ...sampling, seed: BigInt.asIntN(64, seed + BigInt(choice)) }));
  return { requests: samplings.map((own) => ({ model, input, sampling: own })), forced };
}

function forcedBy({ input, toolChoice }: GenerateRequest): ForcedCall | undefined {
  if (input.case !== 'conversation') return undefined;
  if (toolChoice === 'none') input.value.toolsJson = [];
  if (toolChoice === '' || toolChoice === 'none' || toolChoice === 'auto') return undefined;
  return planTools(input.value.toolsJson.map(readTool), toolChoice, true).forced;
}

function readTool(json: string): ToolDefinition {
  try {
    const tool = JSON.parse(json) as { function: ToolDefinition };
    if (typeof tool.function.name === 'string') return tool.function;
  } catch {
    // Said below.
  }
  throw errors.INVALID_REQUEST({ message: 'Each of tools_json must be {"type": "function", "function": {"name": …}}.' }, { param: 'tools_json' });
}
