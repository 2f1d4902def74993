/** Why a flag is on or off. The first that applies, in the order of SPEC F4. */
export const FLAG_REASONS = [
  'FLAG_NOT_FOUND',
  'EMERGENCY',
  'KILLED',
  'DISABLED',
  'PARENT_OFF',
  'PREREQUISITE_OFF',
  'BLACKLISTED',
  'WHITELISTED',
  'NOT_WHITELISTED',
  'SEGMENT_MISMATCH',
  'RULE_MISMATCH',
  'NO_KEY',
  'ROLLED_OUT',
  'NOT_ROLLED_OUT',
] as const;

export type FlagReason = (typeof FLAG_REASONS)[number];

/** The reasons of OpenFeature that an answer can have. */
export type StandardReason = 'STATIC' | 'DEFAULT' | 'TARGETING_MATCH' | 'SPLIT' | 'DISABLED' | 'ERROR';

/** The error codes of OpenFeature that an answer can have. */
export type StandardErrorCode = 'FLAG_NOT_FOUND' | 'TARGETING_KEY_MISSING';

/** Why a request goes to a variant. */
export const VARIANT_REASONS = ['CANARY_DISABLED', 'NO_CANARY_WORKER', 'ROLLBACK_TO_BASELINE', 'NO_KEY', 'IN_CANARY_SHARE', 'OUTSIDE_CANARY_SHARE', 'LEASE_ENDED', 'MOVED_TO_BASELINE', 'SHADOW'] as const;

export type VariantReason = (typeof VARIANT_REASONS)[number];

export type Variant = 'baseline' | 'canary';
