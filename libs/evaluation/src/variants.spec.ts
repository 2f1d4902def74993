import { describe, expect, it, jest } from '@jest/globals';
import { type FlagVariant, flagConfig } from '@mlx-serving/policy';
import fc from 'fast-check';
import { compileFlags } from './flag-set.ts';

const calm = { killSwitch: false, rollbackToBaseline: false };
const compile = (flags: Record<string, object>) =>
  compileFlags({ flags: Object.entries(flags).map(([name, config]) => ({ name, config: flagConfig.parse({ enabled: true, ...config }), killed: false })), emergency: calm });
const KEYS = Array.from({ length: 20_000 }, (_, index) => `user-${index}`);
const shares = (...weights: number[]): FlagVariant[] => weights.map((weight, index) => ({ name: 'abcdef'[index]!, weight }));
const assigned = (config: object, name = 'flag'): (string | undefined)[] => {
  const flags = compile({ [name]: config });
  return KEYS.map((key) => flags.evaluate(name, { key }).variant);
};
const shareOf = (values: readonly unknown[], wanted: unknown): number => values.filter((value) => value === wanted).length / values.length;

describe('variants (F6)', () => {
  it('get the share that their weights say, and hand their payload out', () => {
    const variants = [{ name: 'a', weight: 20, payload: { colour: 'red' } }, { name: 'b', weight: 80 }];
    const given = assigned({ hashSeed: 's', variants });
    expect(shareOf(given, 'a')).toBeCloseTo(0.2, 1);
    expect(shareOf(given, 'a') + shareOf(given, 'b')).toBe(1);
    const flags = compile({ flag: { hashSeed: 's', variants } });
    const answer = flags.evaluate('flag', { key: KEYS[given.indexOf('a')] });
    expect(answer).toMatchObject({ enabled: true, reason: 'ROLLED_OUT', standardReason: 'SPLIT', variant: 'a', payload: { colour: 'red' } });
    expect(() => ((answer.payload as { colour: string }).colour = 'blue')).toThrow(TypeError);
  });

  it('keep to a key, whatever else is asked', () => {
    const flags = compile({ flag: { hashSeed: 's', variants: shares(50, 50) } });
    fc.assert(fc.property(fc.string({ minLength: 1 }), fc.dictionary(fc.string(), fc.anything()), (key, attributes) => flags.evaluate('flag', { key, attributes }).variant === flags.evaluate('flag', { key }).variant));
  });

  it('do not depend on the rollout: those for whom the flag is on have them in the same shares, and keep them when the rollout grows', () => {
    const config = { hashSeed: 's', variants: shares(50, 50) };
    const [some, all] = [assigned({ ...config, rolloutPercentage: 10 }), assigned(config)];
    const on = some.filter((variant) => variant !== undefined);
    expect(on.length / KEYS.length).toBeCloseTo(0.1, 1);
    expect(shareOf(on, 'a')).toBeGreaterThan(0.45);
    expect(shareOf(on, 'a')).toBeLessThan(0.55);
    expect(some.every((variant, index) => variant === undefined || variant === all[index])).toBe(true);
  });

  it.each([[{ hashSeed: 's' }, { hashSeed: 's' }], [{}, {}], [{ hashSeed: 's' }, { hashSeed: 't' }]])('do not depend on those of another flag (%j, %j)', (one, other) => {
    const [first, second] = [assigned({ ...one, variants: shares(50, 50) }, 'first'), assigned({ ...other, variants: shares(50, 50) }, 'second')];
    const both = first.filter((variant, index) => variant === 'a' && second[index] === 'a').length / KEYS.length;
    expect(both).toBeGreaterThan(0.23);
    expect(both).toBeLessThan(0.27);
  });

  it('change only for the share that moved when weights change', () => {
    const weights = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(weights, weights, (before, after) => {
        const [old, now] = [assigned({ hashSeed: 's', variants: shares(before, 100 - before) }), assigned({ hashSeed: 's', variants: shares(after, 100 - after) })];
        const moved = old.filter((variant, index) => variant !== now[index]);
        expect(new Set(moved).size).toBeLessThanOrEqual(1);
        expect(Math.abs(moved.length / KEYS.length - Math.abs(after - before) / 100)).toBeLessThan(0.02);
      }),
      { numRuns: 20 },
    );
  });

  it('stay with everybody outside of a share that is split in two, and when the same shares are written more finely', () => {
    const before = assigned({ hashSeed: 's', variants: shares(50, 50) });
    const split = assigned({ hashSeed: 's', variants: shares(50, 30, 20) });
    expect(before.every((variant, index) => (variant === 'a' ? split[index] === 'a' : split[index] !== 'a'))).toBe(true);
    expect(assigned({ hashSeed: 's', variants: shares(50_000, 50_000) })).toEqual(before);
  });

  it('are given to those on the whitelist too, and to nobody for whom the flag is off', () => {
    const flags = compile({ flag: { hashSeed: 's', rolloutPercentage: 0, whitelist: ['vip'], variants: shares(50, 50) } });
    expect(flags.evaluate('flag', { key: 'vip' })).toMatchObject({ enabled: true, reason: 'WHITELISTED', variant: expect.any(String) });
    expect(flags.evaluate('flag', { key: 'other' }).variant).toBeUndefined();
  });

  it('need a key, unless one variant has everybody', () => {
    expect(compile({ flag: { variants: shares(50, 50) } }).evaluate('flag', {})).toMatchObject({ enabled: true, reason: 'ROLLED_OUT' });
    expect(compile({ flag: { variants: shares(50, 50) } }).evaluate('flag', {}).variant).toBeUndefined();
    expect(compile({ flag: { variants: shares(0, 100, 0) } }).evaluate('flag', {}).variant).toBe('b');
  });

  it('are drawn with the strategy random', () => {
    const draw = jest.spyOn(Math, 'random').mockReturnValueOnce(0.499).mockReturnValueOnce(0.5);
    const flags = compile({ flag: { strategy: 'random', variants: shares(50, 50) } });
    expect([flags.evaluate('flag', { key: 'u' }).variant, flags.evaluate('flag', { key: 'u' }).variant]).toEqual(['a', 'b']);
    draw.mockRestore();
  });
});

describe('the rollouts of two flags (F2)', () => {
  it.each([[{ hashSeed: 'one' }, { hashSeed: 'two' }], [{}, {}]])('are independent: two of 10 %% share 1 %% of the keys (%j, %j)', (one, other) => {
    const flags = compile({ first: { ...one, rolloutPercentage: 10 }, second: { ...other, rolloutPercentage: 10 } });
    const both = KEYS.filter((key) => flags.evaluateAll({ key }).enabled.length === 2).length / KEYS.length;
    expect(both).toBeGreaterThan(0.007);
    expect(both).toBeLessThan(0.013);
  });
});
