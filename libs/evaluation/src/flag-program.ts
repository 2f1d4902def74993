import { createBucket, FINE_BUCKETS, rolloutLimit } from '@mlx-serving/hashing';
import { parentOf, variantCuts } from '@mlx-serving/policy';
import type { FlagAnswer, FlagInput } from './compiled-flags.ts';
import { type CompiledRule, compileRule } from './compile-rule.ts';
import { ANSWERS, rolloutAnswers, type RolloutAnswers, withVariant } from './flag-answer.ts';

/** Where a key falls, 0 to 99999. */
export type BucketOf = (key: string) => number;

/** One flag, ready to be asked: whatever depends on the definition alone is worked out. */
export interface FlagProgram {
  killed: boolean;
  readonly enabled: boolean;
  readonly blacklist: ReadonlySet<string> | undefined;
  readonly whitelist: ReadonlySet<string> | undefined;
  readonly whitelistOnly: boolean;
  readonly segments: readonly string[];
  readonly rules: readonly CompiledRule[];
  /** The first place that is outside of the rollout. */
  readonly limit: number;
  readonly random: boolean;
  readonly bucketOf: BucketOf;
  /** Whether the key falls where it falls for the parent (SPEC F1). */
  readonly sharesBucket: boolean;
  readonly answers: RolloutAnswers;
  readonly variants: VariantProgram | undefined;
}

export interface VariantProgram {
  /** Independent of the rollout's bucket and of every other flag's. */
  readonly bucketOf: BucketOf;
  readonly cuts: readonly number[];
  readonly hasPayload: boolean;
  readonly rolledOut: readonly FlagAnswer[];
  readonly whitelisted: readonly FlagAnswer[];
}

const setOf = (members: readonly string[]): ReadonlySet<string> | undefined => (members.length > 0 ? new Set(members) : undefined);

/** By the latch, or by the `killSwitch` of the definition. */
export function isKilled({ config, killed }: Pick<FlagInput, 'config' | 'killed'>): boolean {
  return killed || config.killSwitch;
}

export function compileFlag(flag: FlagInput): FlagProgram {
  const { name, config } = flag;
  const limit = rolloutLimit(config.rolloutPercentage);
  const answers = rolloutAnswers(limit, FINE_BUCKETS, config.rules.length > 0 || config.segments.length > 0);
  const variants = config.variants;
  return {
    killed: isKilled(flag),
    enabled: config.enabled,
    blacklist: setOf(config.blacklist),
    whitelist: setOf(config.whitelist),
    whitelistOnly: config.whitelistOnly,
    segments: config.segments,
    rules: config.rules.map(compileRule),
    limit,
    random: config.strategy === 'random',
    bucketOf: config.hashSeed === undefined ? createBucket(`${name}:`, '') : createBucket('', `:${config.hashSeed}`),
    sharesBucket: config.hashSeed === undefined && parentOf(name) !== undefined,
    answers,
    variants: variants.length === 0 ? undefined : {
      bucketOf: createBucket('', `:${config.hashSeed ?? ''}:${name}:variant`),
      cuts: variantCuts(variants),
      hasPayload: variants.some(({ payload }) => payload !== undefined),
      rolledOut: variants.map((variant) => withVariant(answers.in, variant)),
      whitelisted: variants.map((variant) => withVariant(ANSWERS.whitelisted, variant)),
    },
  };
}
