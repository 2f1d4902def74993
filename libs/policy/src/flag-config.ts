import { z } from 'zod';
import { flagRule } from './flag-rule.ts';
import { segmentName } from './flag-segment.ts';
import { flagVariants } from './flag-variant.ts';
import { percentage } from './percentage.ts';

const parameters = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

/** What a flag says, and what an environment may say otherwise. */
const fields = {
  enabled: z.boolean(),
  rolloutPercentage: percentage,
  /** Hashed as `key:hashSeed`; without it the hashed text is `flagName:key`, or the parent's bucket for a sub-feature. */
  hashSeed: z.string().min(1),
  /** `random` draws for each decision (SPEC F3). */
  strategy: z.enum(['hash', 'random']),
  whitelist: z.array(z.string()),
  blacklist: z.array(z.string()),
  /** Whether the flag is off for every key that is not on the whitelist. */
  whitelistOnly: z.boolean(),
  /** Names of segments: the key must be in one of them, besides what the rules ask (SPEC F6). */
  segments: z.array(segmentName),
  rules: z.array(flagRule),
  /** Flags that must be on for the same key (SPEC F8). */
  requires: z.array(z.string()),
  /** Shares of those for whom the flag is on (SPEC F6). */
  variants: flagVariants,
  /** Settings of the feature itself, such as `allowlist_only` or `dry_run`. */
  parameters,
};

/** What a flag says otherwise in one environment (SPEC F9). */
export const flagOverrides = z.strictObject(fields).partial();

/** An environment's name, as in MLX_SERVING_ENV. */
export const environmentName = z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, 'must be a name of small letters, digits, _ and -');

/**
 * A flag as Redis holds it, JSON in the hash `feature_flags` (SPEC F10). Fields that are not known here are kept.
 * `killSwitch` is honoured when it is true, in every environment; the latch beside the hash is what keeps a kill (SPEC F13).
 */
export const flagConfig = z.looseObject({
  enabled: fields.enabled.default(false),
  rolloutPercentage: fields.rolloutPercentage.default(100),
  hashSeed: fields.hashSeed.optional(),
  strategy: fields.strategy.default('hash'),
  whitelist: fields.whitelist.default([]),
  blacklist: fields.blacklist.default([]),
  whitelistOnly: fields.whitelistOnly.default(false),
  killSwitch: z.boolean().default(false),
  segments: fields.segments.default([]),
  rules: fields.rules.default([]),
  requires: fields.requires.default([]),
  variants: fields.variants.default([]),
  parameters: fields.parameters.default({}),
  /** Whether a kill also ends the streams that run under the flag (SPEC F19). */
  abortInFlight: z.boolean().default(false),
  /** What holds instead in an environment. */
  environments: z.record(environmentName, flagOverrides).default({}),
});

export type FlagConfig = z.infer<typeof flagConfig>;
export type FlagOverrides = z.infer<typeof flagOverrides>;

/** The environment that holds when MLX_SERVING_ENV names none. */
export const DEFAULT_ENVIRONMENT = 'development';

/** The flag as it holds in an environment: what the environment says stands in the place of what the flag says (SPEC F9). */
export function flagInEnvironment(config: FlagConfig, environment: string): FlagConfig {
  const overrides = Object.hasOwn(config.environments, environment) ? config.environments[environment] : undefined;
  if (!overrides) return config;
  return { ...config, ...(overrides as Partial<FlagConfig>), parameters: { ...config.parameters, ...overrides.parameters } };
}

/** Names of all flags that a flag requires, of all segments that it refers to, in any environment. */
export function referencesOf(config: FlagConfig): { requires: string[]; segments: string[] } {
  const all = [config, ...Object.values(config.environments)];
  const unique = (names: string[]): string[] => [...new Set(names)];
  return { requires: unique(all.flatMap(({ requires }) => requires ?? [])), segments: unique(all.flatMap(({ segments }) => segments ?? [])) };
}

/** A flag's name: words of letters, digits and underscores, at most two levels joined by a dot (SPEC F1). */
export const flagName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)?$/, 'must be a name of letters, digits, _ and -, with at most one dot');

/** Keys of the flags file that are no flags, so no flag may have such a name. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set(['emergency', 'observability', 'segments']);

/** The flag that a sub-feature belongs to, or undefined for a flag of the first level. */
export function parentOf(name: string): string | undefined {
  const dot = name.indexOf('.');
  return dot < 0 ? undefined : name.slice(0, dot);
}
