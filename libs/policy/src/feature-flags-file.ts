import { z } from 'zod';
import { environmentName, type FlagConfig, flagConfig, flagName, type FlagOverrides, parentOf, referencesOf, RESERVED_NAMES } from './flag-config.ts';
import { flagRule } from './flag-rule.ts';
import { type SegmentDefinition, segmentDefinition, segmentName } from './flag-segment.ts';
import { flagVariants } from './flag-variant.ts';
import { percentage } from './percentage.ts';

/** What a flag says, and what an environment may say otherwise. */
const fields = {
  rollout_percentage: percentage.optional(),
  /** Alias of rollout_percentage (SPEC F1). */
  percentage: percentage.optional(),
  hash_seed: z.string().min(1).optional(),
  strategy: z.enum(['hash', 'random']).optional(),
  whitelist: z.array(z.string()).optional(),
  blacklist: z.array(z.string()).optional(),
  whitelist_only: z.boolean().optional(),
  segments: z.array(segmentName).optional(),
  rules: z.array(flagRule).optional(),
  requires: z.array(flagName).optional(),
  variants: flagVariants.optional(),
};

/** What a flag says otherwise in one environment (SPEC F9). */
const overrides = z.strictObject({ enabled: z.boolean().optional(), ...fields });

const common = {
  enabled: z.boolean(),
  ...fields,
  /** Whether a kill also ends the streams that run under the flag (SPEC F19). */
  abort_in_flight: z.boolean().optional(),
  environments: z.record(environmentName, overrides).optional(),
};

const subFeature = z.strictObject({ ...common, allowlist_only: z.boolean().optional(), dry_run: z.boolean().optional() });
const feature = z.object(common).catchall(subFeature);

export type FeatureEntry = z.infer<typeof feature>;
type SubFeatureEntry = z.infer<typeof subFeature>;
type OverridesEntry = z.infer<typeof overrides>;

/** A segment as the file declares it. */
export const segmentEntry = z.strictObject({
  description: z.string().optional(),
  included_keys: z.array(z.string()).optional(),
  excluded_keys: z.array(z.string()).optional(),
  rules: z.array(flagRule).optional(),
});

export const emergencySwitches = z.strictObject({
  kill_switch: z.boolean().default(false),
  rollback_to_baseline: z.boolean().default(false),
});

export const observabilitySettings = z.strictObject({
  log_feature_decisions: z.boolean().default(false),
  /** Share of the evaluations whose decisions are logged, while they are. */
  log_sampling: z.number().min(0).max(1).default(0.01),
  export_metrics: z.boolean().default(true),
  metric_prefix: z.string().regex(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/, 'must be a Prometheus name').default('mlx_serving_feature_flags'),
});

/** `config/feature-flags.yaml`: every key besides `emergency`, `observability` and `segments` is a flag (SPEC F1). */
export const featureFlagsFile = z
  .object({
    emergency: emergencySwitches.prefault({}),
    observability: observabilitySettings.prefault({}),
    segments: z.record(segmentName, segmentEntry).default({}),
  })
  .catchall(feature);

export type FeatureFlagsFile = z.infer<typeof featureFlagsFile>;

const FIELDS = new Set(Object.keys(common));

/** The flags that a file declares, sub-features included, by name, in the order of the file. */
export function flagsOfFile(file: FeatureFlagsFile): Map<string, FlagConfig> {
  const flags = new Map<string, FlagConfig>();
  for (const [name, entry] of Object.entries(file)) {
    if (RESERVED_NAMES.has(name)) continue;
    const declared = entry as FeatureEntry;
    flags.set(name, toFlagConfig(declared));
    for (const [part, sub] of Object.entries(declared)) {
      if (!FIELDS.has(part)) flags.set(`${name}.${part}`, toFlagConfig(sub as SubFeatureEntry));
    }
  }
  return flags;
}

/** The segments that a file declares, by name, in the order of the file. */
export function segmentsOfFile(file: FeatureFlagsFile): Map<string, SegmentDefinition> {
  return new Map(
    Object.entries(file.segments).map(([name, { description, included_keys, excluded_keys, rules }]) => [
      name,
      segmentDefinition.parse({ description, includedKeys: included_keys, excludedKeys: excluded_keys, rules }),
    ]),
  );
}

function toFlagConfig(entry: FeatureEntry | SubFeatureEntry): FlagConfig {
  const { allowlist_only, dry_run } = entry as SubFeatureEntry;
  const environments = Object.entries(entry.environments ?? {}).map(([name, overridden]) => [name, toOverrides(overridden)] as const);
  return flagConfig.parse({
    ...toOverrides(entry),
    abortInFlight: entry.abort_in_flight,
    environments: Object.fromEntries<FlagOverrides>(environments),
    parameters: { ...(allowlist_only === undefined ? {} : { allowlist_only }), ...(dry_run === undefined ? {} : { dry_run }) },
  });
}

/** Only what the entry gives. */
function toOverrides(entry: OverridesEntry): FlagOverrides {
  const all = {
    enabled: entry.enabled,
    rolloutPercentage: entry.rollout_percentage ?? entry.percentage,
    hashSeed: entry.hash_seed,
    strategy: entry.strategy,
    whitelist: entry.whitelist,
    blacklist: entry.blacklist,
    whitelistOnly: entry.whitelist_only,
    segments: entry.segments,
    rules: entry.rules,
    requires: entry.requires,
    variants: entry.variants,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

interface Issue {
  path: string[];
  message: string;
}

/** What a schema cannot see: bad names, both percentages at once, missing seeds, unknown segments, unknown or circular requirements. */
export function checkFeatureFlagsFile(file: FeatureFlagsFile): Issue[] {
  const named = badNames(file);
  if (named.length > 0) return named;
  const flags = flagsOfFile(file);
  const issues = [...flags].flatMap(([name, config]) => flagIssues(name, config, entryOf(file, name), { flags, segments: file.segments }));
  const circle = findCircle(new Map([...flags].map(([name, config]) => [name, referencesOf(config).requires])));
  if (circle) issues.push({ path: [...(circle[0] ?? '').split('.'), 'requires'], message: `The requirements form a circle: ${circle.join(' → ')}.` });
  return issues;
}

function entryOf(file: FeatureFlagsFile, name: string): FeatureEntry {
  return name.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], file) as FeatureEntry;
}

function flagIssues(name: string, config: FlagConfig, entry: FeatureEntry, known: { flags: ReadonlyMap<string, unknown>; segments: object }): Issue[] {
  const path = name.split('.');
  const unseeded = path.length === 1 && config.strategy === 'hash' && config.hashSeed === undefined;
  const places = [{ path, entry: entry as OverridesEntry }, ...Object.entries(entry.environments ?? {}).map(([environment, other]) => ({ path: [...path, 'environments', environment], entry: other }))];
  return [...(unseeded ? [{ path, message: 'hash_seed is missing.' }] : []), ...places.flatMap((place) => placeIssues(place.path, place.entry, known))];
}

function placeIssues(path: string[], entry: OverridesEntry, { flags, segments }: { flags: ReadonlyMap<string, unknown>; segments: object }): Issue[] {
  const unknownFlags = (entry.requires ?? []).filter((required) => !flags.has(required));
  const unknownSegments = (entry.segments ?? []).filter((segment) => !Object.hasOwn(segments, segment));
  const both = entry.percentage !== undefined && entry.rollout_percentage !== undefined;
  return [
    ...unknownFlags.map((required) => ({ path: [...path, 'requires'], message: `There is no flag ${required}.` })),
    ...unknownSegments.map((segment) => ({ path: [...path, 'segments'], message: `There is no segment ${segment}.` })),
    ...(both ? [{ path: [...path, 'percentage'], message: 'percentage is an alias of rollout_percentage: give one of them.' }] : []),
  ];
}

/** A dot joins a sub-feature to its parent, so no key of the file may hold one. */
function badNames(file: FeatureFlagsFile): Issue[] {
  const isBad = (path: string[]): boolean => path.some((key) => key.includes('.')) || !flagName.safeParse(path.join('.')).success;
  return Object.entries(file)
    .filter(([name]) => !RESERVED_NAMES.has(name))
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
