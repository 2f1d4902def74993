import type { FlagReason, FlagVariant, StandardErrorCode, StandardReason } from '@mlx-serving/policy';
import type { FlagAnswer } from './compiled-flags.ts';

const on = (reason: FlagReason, standardReason: StandardReason): FlagAnswer => Object.freeze({ enabled: true, reason, standardReason });
const off = (reason: FlagReason, standardReason: StandardReason): FlagAnswer => Object.freeze({ enabled: false, reason, standardReason });
const failed = (reason: FlagReason, errorCode: StandardErrorCode): FlagAnswer => Object.freeze({ enabled: false, reason, standardReason: 'ERROR', errorCode });

/** Answers that are the same for every flag, made once. */
export const ANSWERS = {
  notFound: failed('FLAG_NOT_FOUND', 'FLAG_NOT_FOUND'),
  emergency: off('EMERGENCY', 'DISABLED'),
  killed: off('KILLED', 'DISABLED'),
  disabled: off('DISABLED', 'DISABLED'),
  parentOff: off('PARENT_OFF', 'DEFAULT'),
  prerequisiteOff: off('PREREQUISITE_OFF', 'DEFAULT'),
  blacklisted: off('BLACKLISTED', 'TARGETING_MATCH'),
  whitelisted: on('WHITELISTED', 'TARGETING_MATCH'),
  notWhitelisted: off('NOT_WHITELISTED', 'DEFAULT'),
  segmentMismatch: off('SEGMENT_MISMATCH', 'DEFAULT'),
  ruleMismatch: off('RULE_MISMATCH', 'DEFAULT'),
  noKey: failed('NO_KEY', 'TARGETING_KEY_MISSING'),
} as const;

const ROLLED_OUT = { STATIC: on('ROLLED_OUT', 'STATIC'), TARGETING_MATCH: on('ROLLED_OUT', 'TARGETING_MATCH'), SPLIT: on('ROLLED_OUT', 'SPLIT') } as const;
const NOT_ROLLED_OUT = { STATIC: off('NOT_ROLLED_OUT', 'STATIC'), TARGETING_MATCH: off('NOT_ROLLED_OUT', 'TARGETING_MATCH'), SPLIT: off('NOT_ROLLED_OUT', 'SPLIT') } as const;

/** The answers that depend on the shape of a flag. */
export interface RolloutAnswers {
  readonly in: FlagAnswer;
  readonly out: FlagAnswer;
}

/** @param targeted whether rules or segments decide besides the share */
export function rolloutAnswers(limit: number, places: number, targeted: boolean): RolloutAnswers {
  const standardReason = limit > 0 && limit < places ? 'SPLIT' : targeted ? 'TARGETING_MATCH' : 'STATIC';
  return { in: ROLLED_OUT[standardReason], out: NOT_ROLLED_OUT[standardReason] };
}

/** The same answer with a variant. */
export function withVariant(answer: FlagAnswer, { name, payload }: FlagVariant): FlagAnswer {
  const standardReason = answer.reason === 'WHITELISTED' ? answer.standardReason : 'SPLIT';
  return Object.freeze({ ...answer, standardReason, variant: name, ...(payload === undefined ? {} : { payload: frozen(payload) }) });
}

/** A payload is handed out again and again, so nobody may change it. */
function frozen(value: unknown): unknown {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}
