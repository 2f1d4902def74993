import type { FlagAnswer } from '@mlx-serving/evaluation';
import type { StandardErrorCode, StandardReason } from '@mlx-serving/policy';

/** An evaluation as the OpenFeature Remote Evaluation Protocol writes it. Rules, lists and shares stay here. */
export interface OfrepSuccess {
  readonly key: string;
  readonly reason: StandardReason;
  /** Absent when the caller's own default holds: a flag whose variants have payloads is off. */
  readonly value?: unknown;
  readonly variant?: string;
  readonly metadata: { readonly flagsRevision: string };
}

export interface OfrepFailure {
  readonly key?: string;
  readonly errorCode: StandardErrorCode | 'PARSE_ERROR' | 'INVALID_CONTEXT' | 'GENERAL';
  readonly errorDetails: string;
}

const DETAILS: Record<StandardErrorCode, string> = {
  FLAG_NOT_FOUND: 'There is no such flag.',
  TARGETING_KEY_MISSING: 'The flag is on for a share of the keys, so context.targetingKey is needed.',
};

/**
 * A flag whose variants have payloads has the payload of the key's variant as its value; any other is a boolean.
 * @param hasPayload whether any variant of the flag has a payload
 */
export function ofrepAnswer(key: string, answer: FlagAnswer, hasPayload: boolean, revision: bigint): OfrepSuccess | OfrepFailure {
  const { enabled, standardReason, errorCode, variant, payload } = answer;
  if (errorCode !== undefined) return { key, errorCode, errorDetails: DETAILS[errorCode] };
  const value = hasPayload ? (payload === undefined ? {} : { value: payload }) : { value: enabled };
  return { key, reason: standardReason, ...value, ...(variant === undefined ? {} : { variant }), metadata: { flagsRevision: String(revision) } };
}

/** @returns 404 for a flag that there is not, 400 for any other failure */
export function ofrepStatus(answer: OfrepSuccess | OfrepFailure): number {
  if (!('errorCode' in answer)) return 200;
  return answer.errorCode === 'FLAG_NOT_FOUND' ? 404 : 400;
}
