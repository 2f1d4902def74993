import { describe, expect, it } from '@jest/globals';
import { checkFeatureFlagsFile, type FeatureFlagsFile, featureFlagsFile, findCircle, flagsOfFile, segmentsOfFile } from './feature-flags-file.ts';

const seed = { hash_seed: 's' };
const file = (value: Record<string, unknown>): FeatureFlagsFile => featureFlagsFile.parse(value);
const problems = (value: Record<string, unknown>): string[] => checkFeatureFlagsFile(file(value)).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
const firstIssue = (value: unknown): string | undefined => featureFlagsFile.safeParse(value).error?.issues[0]?.path.join('.');

describe('featureFlagsFile', () => {
  it('takes a file without emergency and observability, and fills their defaults in', () => {
    expect(file({})).toEqual({
      emergency: { kill_switch: false, rollback_to_baseline: false },
      observability: { log_feature_decisions: false, log_sampling: 0.01, export_metrics: true, metric_prefix: 'mlx_serving_feature_flags' },
      segments: {},
    });
  });

  it.each([
    ['a flag that does not say whether it is on', { a: {} }, 'a.enabled'],
    ['a percentage of four decimals', { a: { enabled: true, percentage: 0.0001 } }, 'a.percentage'],
    ['an unknown strategy', { a: { enabled: true, strategy: 'sticky' } }, 'a.strategy'],
    ['an unknown field of a flag', { a: { enabled: true, rolout_percentage: 5 } }, 'a.rolout_percentage'],
    ['an unknown field of a sub-feature', { a: { enabled: true, b: { enabled: true, c: { enabled: true } } } }, 'a.b'],
    ['an unknown emergency switch', { emergency: { kill: true } }, 'emergency'],
    ['a metric prefix that Prometheus does not take', { observability: { metric_prefix: 'a-b' } }, 'observability.metric_prefix'],
    ['an unknown rule operator', { a: { enabled: true, rules: [{ attribute: 'x', operator: 'like', value: 1 }] } }, 'a.rules.0.operator'],
    ['an empty hash seed', { a: { enabled: true, hash_seed: '' } }, 'a.hash_seed'],
  ])('refuses %s', (_, value, path) => {
    expect(firstIssue(value)).toBe(path);
  });
});

describe('flagsOfFile', () => {
  it('lists flags and sub-features by name, in the order of the file', () => {
    const flags = flagsOfFile(file({ b: { enabled: true, ...seed, y: { enabled: true }, x: { enabled: false } }, a: { enabled: true, ...seed }, emergency: {} }));
    expect([...flags.keys()]).toEqual(['b', 'b.y', 'b.x', 'a']);
  });

  it('reads percentage as an alias of rollout_percentage, and 100 when there is neither', () => {
    const flags = flagsOfFile(file({ a: { enabled: true, percentage: 12.5 }, b: { enabled: true, rollout_percentage: 0 }, c: { enabled: true } }));
    expect([...flags.values()].map((flag) => flag.rolloutPercentage)).toEqual([12.5, 0, 100]);
  });

  it('gives a flag the whole form that Redis holds', () => {
    const rules = [{ attribute: 'plan', operator: 'equals', value: 'pro' }];
    const [flag] = flagsOfFile(file({ a: { enabled: true, ...seed, strategy: 'random', whitelist: ['u1'], blacklist: ['u2'], rules, requires: ['b'] } })).values();
    expect(flag).toEqual({
      enabled: true, rolloutPercentage: 100, hashSeed: 's', strategy: 'random', whitelist: ['u1'], blacklist: ['u2'], whitelistOnly: false, killSwitch: false, segments: [], rules,
      requires: ['b'], variants: [], parameters: {}, abortInFlight: false, environments: {},
    });
  });

  it('keeps the settings of a sub-feature as parameters, only those that are given', () => {
    const flags = flagsOfFile(file({ a: { enabled: true, ...seed, x: { enabled: true, allowlist_only: true }, y: { enabled: true, dry_run: false }, z: { enabled: true } } }));
    expect(['a.x', 'a.y', 'a.z'].map((name) => flags.get(name)?.parameters)).toEqual([{ allowlist_only: true }, { dry_run: false }, {}]);
  });

  it('leaves a sub-feature without a seed of its own without one, so that it shares the bucket of its parent', () => {
    const flags = flagsOfFile(file({ a: { enabled: true, ...seed, x: { enabled: true }, y: { enabled: true, hash_seed: 'own' } } }));
    expect([flags.get('a.x')?.hashSeed, flags.get('a.y')?.hashSeed]).toEqual([undefined, 'own']);
  });

  it('reads variants, segments and what environments say, only what they give', () => {
    const variants = [{ name: 'a', weight: 50, payload: 'x' }, { name: 'b', weight: 50 }];
    const environments = { production: { percentage: 1, whitelist_only: true } };
    const [flag] = flagsOfFile(file({ segments: { staff: {} }, a: { enabled: true, ...seed, variants, segments: ['staff'], abort_in_flight: true, environments } })).values();
    expect(flag).toMatchObject({ variants, segments: ['staff'], abortInFlight: true, environments: { production: { rolloutPercentage: 1, whitelistOnly: true } } });
    expect(Object.keys(flag?.environments['production'] ?? {})).toEqual(['rolloutPercentage', 'whitelistOnly']);
  });

  it('cannot be made to kill a flag by the file: a kill has its own way', () => {
    expect(firstIssue({ a: { enabled: true, killSwitch: true } })).toBe('a.killSwitch');
  });
});

describe('segmentsOfFile', () => {
  it('gives a segment the form that travels', () => {
    const rules = [{ attribute: 'mail', operator: 'endsWith', value: '@example.org' }];
    expect([...segmentsOfFile(file({ segments: { staff: { included_keys: ['u1'], excluded_keys: ['u2'], rules }, none: {} } }))]).toEqual([
      ['staff', { description: '', includedKeys: ['u1'], excludedKeys: ['u2'], rules }],
      ['none', { description: '', includedKeys: [], excludedKeys: [], rules: [] }],
    ]);
  });
});

describe('checkFeatureFlagsFile', () => {
  it('finds nothing wrong in a good file', () => {
    expect(problems({ a: { enabled: true, ...seed, x: { enabled: true } }, b: { enabled: true, ...seed, requires: ['a', 'a.x'] } })).toEqual([]);
  });

  it('finds both percentages given at once, also in a sub-feature', () => {
    const both = { enabled: true, percentage: 1, rollout_percentage: 1 };
    expect(problems({ a: { ...both, ...seed, x: both } })).toEqual([
      'a.percentage: percentage is an alias of rollout_percentage: give one of them.',
      'a.x.percentage: percentage is an alias of rollout_percentage: give one of them.',
    ]);
  });

  it('asks a flag that hashes for a seed, but neither a sub-feature nor one that draws', () => {
    expect(problems({ a: { enabled: true, x: { enabled: true } }, b: { enabled: true, strategy: 'random' } })).toEqual(['a: hash_seed is missing.']);
  });

  it('finds a requirement that does not exist', () => {
    expect(problems({ a: { enabled: true, ...seed, requires: ['nobody'] } })).toEqual(['a.requires: There is no flag nobody.']);
  });

  it('finds an unknown segment, and what is wrong in an environment', () => {
    const production = { segments: ['nobody'], requires: ['nothing'], percentage: 1, rollout_percentage: 1 };
    expect(problems({ a: { enabled: true, ...seed, segments: ['ghosts'], environments: { production } } })).toEqual([
      'a.segments: There is no segment ghosts.',
      'a.environments.production.requires: There is no flag nothing.',
      'a.environments.production.segments: There is no segment nobody.',
      'a.environments.production.percentage: percentage is an alias of rollout_percentage: give one of them.',
    ]);
  });

  it('finds a circle that one environment makes', () => {
    const flags = { a: { enabled: true, ...seed, environments: { production: { requires: ['b'] } } }, b: { enabled: true, ...seed, requires: ['a'] } };
    expect(problems(flags)).toEqual(['a.requires: The requirements form a circle: a → b → a.']);
  });

  it.each([['1st'], ['a.b'], ['a b'], ['ä'], ['']])('finds the bad name %p, of a flag and of a sub-feature', (name) => {
    expect(problems({ [name]: { enabled: true, ...seed } })).toEqual([`${name}: The name must be of letters, digits, _ and -.`]);
    expect(problems({ a: { enabled: true, ...seed, [name]: { enabled: true } } })).toEqual([`a.${name}: The name must be of letters, digits, _ and -.`]);
  });

  it('finds a flag that requires itself, and a circle of several, and names its way', () => {
    expect(problems({ a: { enabled: true, ...seed, requires: ['a'] } })).toEqual(['a.requires: The requirements form a circle: a → a.']);
    const circle = { a: ['b'], b: ['c'], c: ['b'] };
    expect(problems(Object.fromEntries(Object.entries(circle).map(([name, requires]) => [name, { enabled: true, ...seed, requires }])))).toEqual([
      'b.requires: The requirements form a circle: b → c → b.',
    ]);
  });

  it('finds the circle of a flag that requires its own sub-feature', () => {
    expect(problems({ a: { enabled: true, ...seed, requires: ['a.x'], x: { enabled: true } } })).toEqual(['a.requires: The requirements form a circle: a → a.x → a.']);
  });
});

describe('findCircle', () => {
  it('finds none where flags only share what they require', () => {
    expect(findCircle(new Map([['a', ['c']], ['b', ['c', 'a']], ['c', []], ['d', ['missing']]]))).toBeUndefined();
  });

  it('follows a chain that is longer than the call stack is deep', () => {
    const chain = new Map(Array.from({ length: 50_000 }, (_, index) => [`f${index}`, [`f${index + 1}`]]));
    expect(findCircle(chain)).toBeUndefined();
    expect(findCircle(chain.set('f50000', ['f0']))?.length).toBe(50_002);
  });
});
