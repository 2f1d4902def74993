import { describe, expect, it } from '@jest/globals';
import { bucketByFlag, bucketByKey } from '@mlx-serving/hashing';
import { flagConfig } from '@mlx-serving/policy';
import { compileFlags } from './flag-set.ts';

const calm = { killSwitch: false, rollbackToBaseline: false };
const compile = (config: object, killed = false) => compileFlags({ flags: [{ name: 'flag', config: flagConfig.parse({ enabled: true, ...config }), killed }], emergency: calm });
const plan = { rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] };

/** What the source documents' own samples get wrong, and must be right here. */
describe('defects of the samples that are not copied', () => {
  it('a rollout of 1 % is off for everyone without a key', () => {
    expect(compile({ rolloutPercentage: 1 }).evaluate('flag', {})).toMatchObject({ enabled: false, reason: 'NO_KEY' });
  });

  it('a rollout of 100 % is on without a key', () => {
    expect(compile({ rolloutPercentage: 100 }).evaluate('flag', {}).enabled).toBe(true);
  });

  it('a flag for premium users is off for somebody without attributes', () => {
    expect(compile(plan).evaluate('flag', { key: 'u' }).enabled).toBe(false);
    expect(compile(plan).evaluate('flag', { key: 'u', attributes: {} }).enabled).toBe(false);
  });

  it('"age greater than 18" is off when the age is missing', () => {
    expect(compile({ rules: [{ attribute: 'age', operator: 'greaterThan', value: 18 }] }).evaluate('flag', { attributes: { age: undefined } }).enabled).toBe(false);
  });

  it('an unknown operator is refused when it is written, and lets nobody through when it was written past the check', () => {
    expect(flagConfig.safeParse({ rules: [{ attribute: 'a', operator: 'like', value: 1 }] }).success).toBe(false);
    const config = { ...flagConfig.parse({ enabled: true }), rules: [{ attribute: 'a', operator: 'like', value: 1 }] } as never;
    expect(compileFlags({ flags: [{ name: 'flag', config, killed: false }], emergency: calm }).evaluate('flag', { attributes: { a: 1 } }).enabled).toBe(false);
  });

  it('"contains" on a number does not fail the request', () => {
    expect(compile({ rules: [{ attribute: 'a', operator: 'contains', value: 'x' }] }).evaluate('flag', { attributes: { a: 7 } }).reason).toBe('RULE_MISMATCH');
  });

  it('a kill survives every edit of the definition', () => {
    const flags = compile({}, true);
    flags.apply({ changed: [{ name: 'flag', config: flagConfig.parse({ enabled: true, killSwitch: false, rolloutPercentage: 100, whitelist: ['u'] }), killed: true }] });
    expect(flags.evaluate('flag', { key: 'u' }).reason).toBe('KILLED');
  });

  it('a segment holds besides a percentage: nobody outside of it is on', () => {
    const flags = compileFlags({
      flags: [{ name: 'flag', config: flagConfig.parse({ enabled: true, rolloutPercentage: 50, segments: ['staff'] }), killed: false }],
      segments: [{ name: 'staff', definition: { description: '', includedKeys: [], excludedKeys: [], rules: [{ attribute: 'staff', operator: 'equals', value: true }] } }],
      emergency: calm,
    });
    const share = (staff: boolean): number => Array.from({ length: 4_000 }, (_, i) => flags.evaluate('flag', { key: `u${i}`, attributes: { staff } })).filter(({ enabled }) => enabled).length / 4_000;
    expect(share(false)).toBe(0);
    expect(share(true)).toBeGreaterThan(0.46);
    expect(share(true)).toBeLessThan(0.54);
  });

  it('a flag that was removed is gone', () => {
    const flags = compile({});
    flags.apply({ removed: ['flag'] });
    expect(flags.evaluate('flag', {}).reason).toBe('FLAG_NOT_FOUND');
  });

  it('half a percent is half a percent', () => {
    const flags = compile({ rolloutPercentage: 0.5 });
    const on = Array.from({ length: 100_000 }, (_, i) => flags.evaluate('flag', { key: `u${i}` })).filter(({ enabled }) => enabled).length;
    expect(on).toBeGreaterThan(400);
    expect(on).toBeLessThan(600);
  });
  it('two flags of 10 % share 1 % of the keys, not 10 %: each flag hashes by a text of its own', () => {
    const config = flagConfig.parse({ enabled: true, rolloutPercentage: 10 });
    const flags = compileFlags({ flags: ['one', 'other'].map((name) => ({ name, config, killed: false })), emergency: calm });
    const both = Array.from({ length: 20_000 }, (_, i) => flags.evaluateAll({ key: `u${i}` })).filter(({ enabled }) => enabled.length === 2).length;
    expect(both).toBeGreaterThan(140);
    expect(both).toBeLessThan(260);
  });

  it('there is one rule of what is hashed: `key:seed`, or `flag:key` where there is no seed', () => {
    const [seeded, bare] = [compile({ rolloutPercentage: 50, hashSeed: 's' }), compile({ rolloutPercentage: 50 })];
    for (let i = 0; i < 1_000; i++) {
      expect(seeded.evaluate('flag', { key: `u${i}` }).enabled).toBe(bucketByKey(`u${i}`, 's') < 50_000);
      expect(bare.evaluate('flag', { key: `u${i}` }).enabled).toBe(bucketByFlag('flag', `u${i}`) < 50_000);
    }
  });
});
