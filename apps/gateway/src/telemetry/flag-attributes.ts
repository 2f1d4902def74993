import type { Attributes } from '@opentelemetry/api';
import type { FlagAnswer } from '@mlx-serving/evaluation';

/** What all evaluations of one snapshot have in common. */
export interface EvaluatedWith {
  readonly revision: bigint;
  /** The flags of one environment are one set. */
  readonly environment: string;
}

/** OpenTelemetry's name of the event of one evaluation. */
export const EVALUATION_EVENT = 'feature_flag.evaluation';

/**
 * One answer in the terms of OpenTelemetry's conventions for feature flags. The key that was asked for is not among them:
 * it may name a person.
 */
export function flagAttributes(name: string, { enabled, standardReason, errorCode, variant }: FlagAnswer, { revision, environment }: EvaluatedWith): Attributes {
  const attributes: Attributes = {
    'feature_flag.key': name,
    'feature_flag.provider.name': 'mlx-serving',
    'feature_flag.result.value': enabled,
    'feature_flag.result.variant': variant ?? (enabled ? 'on' : 'off'),
    'feature_flag.result.reason': standardReason.toLowerCase(),
    'feature_flag.set.id': environment,
    'feature_flag.version': String(revision),
  };
  if (errorCode !== undefined) attributes['error.type'] = errorCode.toLowerCase();
  return attributes;
}
