import { describe, expect, it } from '@jest/globals';
import { bucketByKey } from '@mlx-serving/hashing';
import { flagConfig, segmentDefinition } from '@mlx-serving/policy';
import { compileFlags } from './flag-set.ts';

const compile = (flags: Record<string, object>, killed: string[] = []) =>
  compileFlags({
    flags: Object.entries(flags).map(([name, config]) => ({ name, config: flagConfig.parse({ enabled: true, ...config }), killed: killed.includes(name) })),
    segments: [{ name: 'staff', definition: segmentDefinition.parse({ includedKeys: ['ada'], excludedKeys: ['eve'], rules: [{ attribute: 'mail', operator: 'endsWith', value: '@example.org' }] }) }],
    emergency: { killSwitch: false, rollbackToBaseline: false },
  });

describe('an explanation', () => {
  it('shows each step in its order with what was compared, the last of which decided', () => {
    const flags = compile({
      base: {},
      flag: { requires: ['base'], blacklist: ['eve'], whitelist: ['bob'], segments: ['staff'], rules: [{ attribute: 'plan', operator: 'equals', value: 'pro' }], hashSeed: 's', rolloutPercentage: 10 },
    });
    const fine = bucketByKey('ada', 's');
    expect(flags.explain('flag', { key: 'ada', attributes: { plan: 'pro' } })).toEqual({
      flag: 'flag',
      ...flags.evaluate('flag', { key: 'ada', attributes: { plan: 'pro' } }),
      steps: [
        { check: 'emergency', detail: 'kill switch of everything? no' },
        { check: 'kill', detail: 'killed? no' },
        { check: 'enabled', detail: 'enabled? yes' },
        { check: 'requires', detail: 'base is on? yes (ROLLED_OUT)' },
        { check: 'blacklist', detail: 'key "ada" is on the blacklist of 1? no' },
        { check: 'whitelist', detail: 'key "ada" is on the whitelist of 1? no' },
        { check: 'segments', detail: 'in a segment of staff? yes, staff' },
        { check: 'rule', detail: 'plan "pro" equals "pro"? yes' },
        { check: 'rollout', detail: `fine=${fine} < 10000? ${fine < 10_000 ? 'yes' : 'no'}` },
      ],
    });
  });

  it.each([
    [{ enabled: false }, {}, 'enabled', 'enabled? no'],
    [{ requires: ['nobody'] }, {}, 'requires', 'nobody is on? no (FLAG_NOT_FOUND)'],
    [{ requires: ['flag'] }, {}, 'requires', 'no circle under it? no'],
    [{ whitelistOnly: true, whitelist: ['bob'] }, { key: 'ada' }, 'whitelistOnly', 'only the whitelist is on, and the key is not on it'],
    [{ segments: ['staff'] }, { key: 'eve', attributes: { mail: 'eve@example.org' } }, 'segments', 'in a segment of staff? no'],
    [{ rules: [{ attribute: 'age', operator: 'greaterThan', value: 18 }] }, { key: 'ada' }, 'rule', 'age (missing) greaterThan 18? no'],
    [{ rolloutPercentage: 50 }, {}, 'rollout', 'no key, and only 50 % of the keys are in'],
    [{ rolloutPercentage: 0 }, {}, 'rollout', '0 %: nobody'],
    [{ variants: [{ name: 'a', weight: 50 }, { name: 'b', weight: 50 }] }, {}, 'variant', 'no key, so no variant'],
  ])('of %j for %j ends with %s', (config, context, check, detail) => {
    const explained = compile({ flag: config }).explain('flag', context);
    expect(explained.steps.at(-1)).toEqual({ check, detail });
    expect(explained).toMatchObject(compile({ flag: config }).evaluate('flag', context));
  });

  it('says where a key falls among variants', () => {
    const explained = compile({ flag: { hashSeed: 's', variants: [{ name: 'a', weight: 50 }, { name: 'b', weight: 50 }] } }).explain('flag', { key: 'ada' });
    expect(explained.steps.at(-1)?.detail).toMatch(new RegExp(`^(0|50000) <= fine=\\d+ < (50000|100000): ${explained.variant}$`));
  });

  it('has no step for a flag that it does not know, and survives what cannot be shown', () => {
    expect(compile({}).explain('nobody', {})).toMatchObject({ reason: 'FLAG_NOT_FOUND', errorCode: 'FLAG_NOT_FOUND', steps: [] });
    const circular: Record<string, unknown> = {};
    circular['plan'] = circular;
    const flags = compile({ flag: { rules: [{ attribute: 'plan', operator: 'equals', value: 'pro' }] } });
    for (const attributes of [circular, { plan: 1n }, { plan: Symbol('x') }, { get plan(): never { throw new Error('no'); } }]) {
      expect(flags.explain('flag', { attributes }).steps.at(-1)?.check).toBe('rule');
    }
  });
});

describe("OpenFeature's terms", () => {
  it.each([
    [{}, {}, 'STATIC', undefined],
    [{ rolloutPercentage: 0 }, {}, 'STATIC', undefined],
    [{ rolloutPercentage: 50 }, { key: 'u' }, 'SPLIT', undefined],
    [{ rolloutPercentage: 50 }, {}, 'ERROR', 'TARGETING_KEY_MISSING'],
    [{ enabled: false }, {}, 'DISABLED', undefined],
    [{ whitelist: ['u'] }, { key: 'u' }, 'TARGETING_MATCH', undefined],
    [{ rules: [{ attribute: 'a', operator: 'equals', value: 1 }] }, { attributes: { a: 1 } }, 'TARGETING_MATCH', undefined],
    [{ rules: [{ attribute: 'a', operator: 'equals', value: 1 }] }, {}, 'DEFAULT', undefined],
    [{ variants: [{ name: 'a', weight: 100 }] }, {}, 'SPLIT', undefined],
  ])('%j for %j is %s', (config, context, standardReason, errorCode) => {
    const answer = compile({ flag: config }).evaluate('flag', context);
    expect([answer.standardReason, answer.errorCode]).toEqual([standardReason, errorCode]);
  });
});
