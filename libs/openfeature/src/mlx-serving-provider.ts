import type { EvaluationContext as FlagContext, FlagAnswer } from '@mlx-serving/evaluation';
import { type ErrorCode, type EvaluationContext, type JsonValue, type Provider, type ResolutionDetails, StandardResolutionReasons } from '@openfeature/server-sdk';

/** Whatever can evaluate a flag in memory: a `FeatureFlagLoader`, or a `FlagSet`. */
export interface FlagSource {
  evaluate(name: string, context: FlagContext): FlagAnswer;
}

/**
 * OpenFeature's provider over flags in memory. A flag is a boolean; asked for a text, a number or an object it gives the payload
 * of the key's variant, and for a text without a payload the name of the variant. A flag that is off gives the caller's default.
 */
export class MlxServingProvider implements Provider {
  readonly metadata = { name: 'mlx-serving' } as const;
  readonly runsOn = 'server';
  readonly #flags: FlagSource;

  constructor(flags: FlagSource) {
    this.#flags = flags;
  }

  async resolveBooleanEvaluation(flag: string, defaultValue: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>> {
    const answer = this.#evaluate(flag, context);
    return answer.errorCode === undefined ? { value: answer.enabled, ...detailsOf(answer) } : failed(defaultValue, answer);
  }

  async resolveStringEvaluation(flag: string, defaultValue: string, context: EvaluationContext): Promise<ResolutionDetails<string>> {
    const answer = this.#evaluate(flag, context);
    return resolved(answer, answer.payload ?? answer.variant, defaultValue, (value) => typeof value === 'string');
  }

  async resolveNumberEvaluation(flag: string, defaultValue: number, context: EvaluationContext): Promise<ResolutionDetails<number>> {
    const answer = this.#evaluate(flag, context);
    return resolved(answer, answer.payload, defaultValue, (value) => typeof value === 'number');
  }

  async resolveObjectEvaluation<T extends JsonValue>(flag: string, defaultValue: T, context: EvaluationContext): Promise<ResolutionDetails<T>> {
    const answer = this.#evaluate(flag, context);
    return resolved(answer, answer.payload, defaultValue, (value) => typeof value === 'object' && value !== null);
  }

  #evaluate(flag: string, { targetingKey, ...attributes }: EvaluationContext): FlagAnswer {
    return this.#flags.evaluate(flag, { key: targetingKey, attributes: targetingKey === undefined ? attributes : { user_id: targetingKey, ...attributes } });
  }
}

function resolved<T>(answer: FlagAnswer, value: unknown, defaultValue: T, isOfType: (value: unknown) => boolean): ResolutionDetails<T> {
  if (answer.errorCode !== undefined) return failed(defaultValue, answer);
  if (!answer.enabled) return { value: defaultValue, ...detailsOf(answer) };
  if (!isOfType(value)) return { value: defaultValue, reason: StandardResolutionReasons.ERROR, errorCode: 'TYPE_MISMATCH' as ErrorCode, errorMessage: 'The variant of the flag has no value of this type.' };
  return { value: value as T, ...detailsOf(answer) };
}

function failed<T>(value: T, { errorCode }: FlagAnswer): ResolutionDetails<T> {
  return { value, reason: StandardResolutionReasons.ERROR, errorCode: errorCode as ErrorCode };
}

function detailsOf({ standardReason, variant, reason }: FlagAnswer): Omit<ResolutionDetails<unknown>, 'value'> {
  return { reason: standardReason, flagMetadata: { reason }, ...(variant === undefined ? {} : { variant }) };
}
