import type { ServerResponse } from 'node:http';
import { httpStatus, sendJson, type ServiceError } from '@mlx-serving/service-kit';

/** OpenAI's error object. */
export interface OpenAiError {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}

/** Where a reason means another status than its gRPC code, or where OpenAI has a code or a parameter of its own for it. */
const BY_REASON: Record<string, { status?: number; code?: string | null; param?: string }> = {
  INVALID_REQUEST: { code: null },
  UNKNOWN_PARAMETER: { code: null },
  UNSUPPORTED_VALUE: { code: 'unsupported_value' },
  BODY_NOT_JSON: { code: null },
  BODY_TOO_LARGE: { status: 413, code: null },
  BODY_TOO_DEEP: { code: null },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, code: null },
  UNKNOWN_URL: { code: null },
  METHOD_NOT_ALLOWED: { status: 405, code: 'method_not_supported' },
  MODEL_NOT_FOUND: { code: 'model_not_found', param: 'model' },
  PROMPT_TOO_LONG: { code: 'context_length_exceeded' },
  MAX_TOKENS_INVALID: { param: 'max_tokens' },
  TEMPERATURE_INVALID: { param: 'temperature' },
  TOP_P_INVALID: { param: 'top_p' },
  STOP_INVALID: { param: 'stop' },
  MIN_P_INVALID: { param: 'min_p' },
  REPETITION_PENALTY_INVALID: { param: 'repetition_penalty' },
  LOGIT_BIAS_INVALID: { param: 'logit_bias' },
  TOP_LOGPROBS_INVALID: { param: 'top_logprobs' },
  SCHEMA_INVALID: { param: 'response_format' },
  TOOLS_INVALID: { param: 'tools' },
  CHAT_NOT_SUPPORTED: { param: 'messages' },
  CHAT_NOT_RENDERED: { param: 'messages' },
  API_KEY_MISSING: { code: null },
  API_KEY_WRONG: { code: 'invalid_api_key' },
  RATE_LIMITED: { code: 'rate_limit_exceeded' },
  BUDGET_SPENT: { code: 'insufficient_quota' },
  QUEUE_FULL: { code: 'rate_limit_exceeded' },
};

export function statusOf(error: ServiceError): number {
  return BY_REASON[error.reason]?.status ?? httpStatus(error.code);
}

export function toOpenAiError(error: ServiceError): OpenAiError {
  const special = BY_REASON[error.reason];
  const code = special?.code === undefined ? error.reason.toLowerCase() : special.code;
  return { error: { message: error.message, type: typeOf(statusOf(error)), param: error.param ?? special?.param ?? null, code } };
}

/** Answers with the error's status and OpenAI's error object; Retry-After in whole seconds where the error says when. */
export function sendOpenAiError(response: ServerResponse, error: ServiceError): void {
  if (error.retryAfterMs !== undefined) response.setHeader('retry-after', Math.max(1, Math.ceil(error.retryAfterMs / 1_000)));
  sendJson(response, statusOf(error), toOpenAiError(error));
}

function typeOf(status: number): string {
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}
