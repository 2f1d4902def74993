import { z } from 'zod';
import { flagRule } from './flag-rule.ts';
import { percentage } from './percentage.ts';

/**
 * A flag as Redis holds it, JSON in the hash `feature_flags` (SPEC F10). Fields that are not known here are kept.
 * `killSwitch` is honoured when it is true; the latch beside the hash is what keeps a kill (SPEC F13).
 */
export const flagConfig = z.looseObject({
  enabled: z.boolean().default(false),
  rolloutPercentage: percentage.default(100),
  /** Hashed as `key:hashSeed`; without it the hashed text is `flagName:key`, or the parent's bucket for a sub-feature. */
  hashSeed: z.string().min(1).optional(),
  /** `random` draws for each decision (SPEC F3). */
  strategy: z.enum(['hash', 'random']).default('hash'),
  whitelist: z.array(z.string()).default([]),
  blacklist: z.array(z.string()).default([]),
  killSwitch: z.boolean().default(false),
  rules: z.array(flagRule).default([]),
  /** Flags that must be on for the same key (SPEC F8). */
  requires: z.array(z.string()).default([]),
  /** Settings of the feature itself, such as `allowlist_only` or `dry_run`. */
  parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
});

export type FlagConfig = z.infer<typeof flagConfig>;

/** A flag's name: words of letters, digits and underscores, at most two levels joined by a dot (SPEC F1). */
export const flagName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)?$/, 'must be a name of letters, digits, _ and -, with at most one dot');

/** The flag that a sub-feature belongs to, or undefined for a flag of the first level. */
export function parentOf(name: string): string | undefined {
  const dot = name.indexOf('.');
  return dot < 0 ? undefined : name.slice(0, dot);
}
