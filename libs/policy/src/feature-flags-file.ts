import { z } from 'zod';
import { type FlagConfig, flagConfig, flagName, parentOf } from './flag-config.ts';
import { flagRule } from './flag-rule.ts';
import { percentage } from './percentage.ts';

const common = {
  enabled: z.boolean(),
  rollout_percentage: percentage.optional(),
  /** Alias of rollout_percentage (SPEC F1). */
  percentage: percentage.optional(),
  hash_seed: z.string().min(1).optional(),
  strategy: z.enum(['hash', 'random']).optional(),
  whitelist: z.array(z.string()).optional(),
  blacklist: z.array(z.string()).optional(),
  rules: z.array(flagRule).optional(),
  requires: z.array(flagName).optional(),
};

const subFeature = z.strictObject({ ...common, allowlist_only: z.boolean().optional(), dry_run: z.boolean().optional() });
const feature = z.object(common).catchall(subFeature);

export type FeatureEntry = z.infer<typeof feature>;
type SubFeatureEntry = z.infer<typeof subFeature>;

export const emergencySwitches = z.strictObject({
  kill_switch: z.boolean().default(false),
  rollback_to_baseline: z.boolean().default(false),
});

export const observabilitySettings = z.strictObject({
  log_feature_decisions: z.boolean().default(false),
  export_metrics: z.boolean().default(true),
  metric_prefix: z.string().regex(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/, 'must be a Prometheus name').default('mlx_serving_feature_flags'),
});

/** `config/feature-flags.yaml`: every key besides `emergency` and `observability` is a flag (SPEC F1). */
export const featureFlagsFile = z
  .object({ emergency: emergencySwitches.prefault({}), observability: observabilitySettings.prefault({}) })
  .catchall(feature);

export type FeatureFlagsFile = z.infer<typeof featureFlagsFile>;

const RESERVED = new Set(['emergency', 'observability']);
const FIELDS = new Set(Object.keys(common));

/** The flags that a file declares, sub-features included, by name, in the order of the file. */
export function flagsOfFile(file: FeatureFlagsFile): Map<string, FlagConfig> {
  const flags = new Map<string, FlagConfig>();
  for (const [name, entry] of Object.entries(file)) {
    if (RESERVED.has(name)) continue;
    const declared = entry as FeatureEntry;
    flags.set(name, toFlagConfig(declared));
    for (const [part, sub] of Object.entries(declared)) {
      if (!FIELDS.has(part)) flags.set(`${name}.${part}`, toFlagConfig(sub as SubFeatureEntry));
    }
  }
  return flags;
}

function toFlagConfig(entry: FeatureEntry | SubFeatureEntry): FlagConfig {
  const { allowlist_only, dry_run } = entry as SubFeatureEntry;
  return flagConfig.parse({
    enabled: entry.enabled,
    rolloutPercentage: entry.rollout_percentage ?? entry.percentage,
    hashSeed: entry.hash_seed,
    strategy: entry.strategy,
    whitelist: entry.whitelist,
    blacklist: entry.blacklist,
    rules: entry.rules,
    requires: entry.requires,
    parameters: { ...(allowlist_only === undefined ? {} : { allowlist_only }), ...(dry_run === undefined ? {} : { dry_run }) },
  });
}

/** What a schema cannot see: bad names, both percentages at once, missing seeds, unknown or circular requirements. */
export function checkFeatureFlagsFile(file: FeatureFlagsFile): { path: string[]; message: string }[] {
  const issues = badNames(file);
  if (issues.length > 0) return issues;
  const flags = flagsOfFile(file);
  for (const [name, config] of flags) {
    const path = name.split('.');
    if (path.length === 1 && config.strategy === 'hash' && config.hashSeed === undefined) issues.push({ path, message: 'hash_seed is missing.' });
    for (const required of config.requires) {
      if (!flags.has(required)) issues.push({ path: [...path, 'requires'], message: `There is no flag ${required}.` });
    }
    const entry = path.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], file) as FeatureEntry;
    if (entry.percentage !== undefined && entry.rollout_percentage !== undefined) {
      issues.push({ path: [...path, 'percentage'], message: 'percentage is an alias of rollout_percentage: give one of them.' });
    }
  }
  const circle = findCircle(new Map([...flags].map(([name, config]) => [name, config.requires])));
  if (circle) issues.push({ path: [...(circle[0] ?? '').split('.'), 'requires'], message: `The requirements form a circle: ${circle.join(' → ')}.` });
  return issues;
}

/** A dot joins a sub-feature to its parent, so no key of the file may hold one. */
function badNames(file: FeatureFlagsFile): { path: string[]; message: string }[] {
  const isBad = (path: string[]): boolean => path.some((key) => key.includes('.')) || !flagName.safeParse(path.join('.')).success;
  return Object.entries(file)
    .filter(([name]) => !RESERVED.has(name))
    .flatMap(([name, entry]) => [[name], ...Object.keys(entry).filter((part) => !FIELDS.has(part)).map((part) => [name, part])])
    .filter(isBad)
    .map((path) => ({ path, message: 'The name must be of letters, digits, _ and -.' }));
}

/**
 * Finds a circle among requirements. A sub-feature requires its parent without saying so.
 * @returns the names along the first circle, its first name repeated at the end, or undefined
 */
export function findCircle(requirements: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const next = (name: string): string[] => {
    const parent = parentOf(name);
    return [...(parent !== undefined && requirements.has(parent) ? [parent] : []), ...(requirements.get(name) ?? [])];
  };
  for (const start of requirements.keys()) {
    // Its own stack: a chain of requirements may be longer than the call stack is deep.
    const trail = done.has(start) ? [] : [{ name: start, rest: next(start) }];
    const onTrail = new Set([start]);
    for (let last = trail.at(-1); last; last = trail.at(-1)) {
      const required = last.rest.shift();
      if (required === undefined) {
        done.add(last.name);
        onTrail.delete(last.name);
        trail.pop();
      } else if (onTrail.has(required)) {
        const names = trail.map((step) => step.name);
        return [...names.slice(names.indexOf(required)), required];
      } else if (!done.has(required)) {
        trail.push({ name: required, rest: next(required) });
        onTrail.add(required);
      }
    }
  }
  return undefined;
}
