import { describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { bucketByFlag, bucketByKey, isInRollout } from '@mlx-serving/hashing';
import { FLAG_REASONS, flagConfig } from '@mlx-serving/policy';
import { compileFlags } from './flag-set.ts';
import type { EvaluationContext } from './compiled-flags.ts';

const calm = { killSwitch: false, rollbackToBaseline: false };

function compile(flags: Record<string, object>, options: { killed?: string[]; emergency?: typeof calm } = {}) {
  return compileFlags({
    flags: Object.entries(flags).map(([name, config]) => ({ name, config: flagConfig.parse(config), killed: options.killed?.includes(name) ?? false })),
    emergency: options.emergency ?? calm,
  });
}

const answerOf = (config: object, context: EvaluationContext = {}) => compile({ flag: config }).evaluate('flag', context);

describe('the order of evaluation', () => {
  const everything = { enabled: true, whitelist: ['vip'], blacklist: ['vip', 'troll'], rolloutPercentage: 50 };

  it('answers off for a flag that it does not know, names of object members included', () => {
    for (const name of ['unknown', '__proto__', 'constructor', '']) expect(compile({}).evaluate(name, {})).toMatchObject({ enabled: false, reason: 'FLAG_NOT_FOUND' });
  });

  it('lets the emergency win over everything', () => {
    const flags = compile({ flag: everything }, { killed: ['flag'], emergency: { killSwitch: true, rollbackToBaseline: false } });
    expect(flags.evaluate('flag', { key: 'vip' })).toMatchObject({ enabled: false, reason: 'EMERGENCY' });
  });

  it('leaves flags alone when only the traffic goes back to the baseline', () => {
    const flags = compile({ flag: { enabled: true } }, { emergency: { killSwitch: false, rollbackToBaseline: true } });
    expect(flags.evaluate('flag', {}).enabled).toBe(true);
    expect(flags.emergency.rollbackToBaseline).toBe(true);
  });

  it('lets a kill win over the whitelist, by latch and by the killSwitch of the definition', () => {
    const flag = { enabled: true, whitelist: ['vip'] };
    expect(compile({ flag }, { killed: ['flag'] }).evaluate('flag', { key: 'vip' }).reason).toBe('KILLED');
    expect(answerOf({ ...flag, killSwitch: true }, { key: 'vip' }).reason).toBe('KILLED');
  });

  it('asks enabled, then blacklist, then whitelist', () => {
    expect(answerOf({ ...everything, enabled: false }, { key: 'vip' }).reason).toBe('DISABLED');
    expect(answerOf(everything, { key: 'vip' }).reason).toBe('BLACKLISTED');
    expect(answerOf({ ...everything, blacklist: [] }, { key: 'vip' })).toMatchObject({ enabled: true, reason: 'WHITELISTED' });
  });

  it('turns a sub-feature off with its parent, and when there is no parent', () => {
    const flags = compile({ a: { enabled: false }, 'a.b': { enabled: true }, 'c.d': { enabled: true } });
    expect(flags.evaluate('a.b', {}).reason).toBe('PARENT_OFF');
    expect(flags.evaluate('c.d', {}).reason).toBe('PARENT_OFF');
  });

  it('turns a flag off with a flag that it requires, and when that is unknown', () => {
    const flags = compile({ base: { enabled: true }, a: { enabled: true, requires: ['base'] }, b: { enabled: true, requires: ['nowhere'] } }, { killed: ['base'] });
    expect(flags.evaluate('a', {}).reason).toBe('PREREQUISITE_OFF');
    expect(flags.evaluate('b', {}).reason).toBe('PREREQUISITE_OFF');
  });

  it('turns flags off that require one another in a circle, and a chain that is too long', () => {
    const chain = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`f${i}`, { enabled: true, requires: i === 0 ? [] : [`f${i - 1}`] }]));
    const flags = compile({ ...chain, x: { enabled: true, requires: ['y'] }, y: { enabled: true, requires: ['x'] } });
    expect(flags.evaluate('x', {}).reason).toBe('PREREQUISITE_OFF');
    expect(flags.evaluate('f64', {}).enabled).toBe(true);
    expect(flags.evaluate('f65', {}).reason).toBe('PREREQUISITE_OFF');
    expect(flags.evaluate('f19999', {}).reason).toBe('PREREQUISITE_OFF');
  });
});

describe('rules', () => {
  const premium = { enabled: true, rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] };

  it('match all or the flag is off', () => {
    const both = { enabled: true, rules: [...premium.rules, { attribute: 'age', operator: 'greaterThan', value: 18 }] };
    expect(answerOf(both, { attributes: { plan: 'premium', age: 19 } }).enabled).toBe(true);
    expect(answerOf(both, { attributes: { plan: 'premium', age: 18 } }).reason).toBe('RULE_MISMATCH');
  });

  it('never match a missing attribute, an inherited one, or no attributes at all', () => {
    expect(answerOf(premium).reason).toBe('RULE_MISMATCH');
    expect(answerOf(premium, { attributes: {} }).reason).toBe('RULE_MISMATCH');
    expect(answerOf(premium, { attributes: Object.create({ plan: 'premium' }) }).reason).toBe('RULE_MISMATCH');
  });

  it.each([
    ['equals', 1, '1'],
    ['contains', 'a', 7],
    ['contains', 1, '12'],
    ['greaterThan', 18, '19'],
    ['greaterThan', 18, Number.NaN],
  ])('%s %p never matches the wrongly typed %p', (operator, value, attribute) => {
    expect(answerOf({ enabled: true, rules: [{ attribute: 'x', operator, value }] }, { attributes: { x: attribute } }).reason).toBe('RULE_MISMATCH');
  });

  it('find a part of a text and a member of a list', () => {
    const rules = [{ attribute: 'mail', operator: 'contains', value: '@example' }];
    expect(answerOf({ enabled: true, rules }, { attributes: { mail: 'a@example.org' } }).enabled).toBe(true);
    expect(answerOf({ enabled: true, rules }, { attributes: { mail: ['@example'] } }).enabled).toBe(true);
  });

  it('hold besides the percentage', () => {
    expect(answerOf({ ...premium, rolloutPercentage: 0 }, { key: 'u', attributes: { plan: 'premium' } }).reason).toBe('NOT_ROLLED_OUT');
  });
});

describe('the percentage', () => {
  it('is on for everyone at 100 and off at 0, without a key too, and off between without a key', () => {
    expect(answerOf({ enabled: true, rolloutPercentage: 100 }).reason).toBe('ROLLED_OUT');
    expect(answerOf({ enabled: true, rolloutPercentage: 0 }).reason).toBe('NOT_ROLLED_OUT');
    expect(answerOf({ enabled: true, rolloutPercentage: 99.999 })).toMatchObject({ enabled: false, reason: 'NO_KEY' });
    expect(answerOf({ enabled: true, rolloutPercentage: 99.999 }, { key: '' }).reason).toBe('NO_KEY');
  });

  it('hashes the key with the seed, or with the name when there is no seed', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (key) => {
        expect(answerOf({ enabled: true, rolloutPercentage: 50, hashSeed: 's' }, { key }).enabled).toBe(isInRollout(bucketByKey(key, 's'), 50));
        expect(answerOf({ enabled: true, rolloutPercentage: 50 }, { key }).enabled).toBe(isInRollout(bucketByFlag('flag', key), 50));
      }),
    );
  });

  it('gives a sub-feature the bucket of its parent unless it has a seed of its own', () => {
    const half = { enabled: true, rolloutPercentage: 50 };
    const flags = compile({ a: { ...half, hashSeed: 's' }, 'a.shared': half, n: half, 'n.shared': half, o: { enabled: true, hashSeed: 's' }, 'o.own': { ...half, hashSeed: 't' } });
    for (let i = 0; i < 500; i++) {
      const { enabled } = flags.evaluateAll({ key: `user-${i}` });
      expect(enabled.includes('a.shared')).toBe(enabled.includes('a'));
      expect(enabled.includes('n.shared')).toBe(enabled.includes('n'));
      expect(enabled.includes('o.own')).toBe(isInRollout(bucketByKey(`user-${i}`, 't'), 50));
    }
  });

  it('draws for each decision with the strategy random', () => {
    const draw = jest.spyOn(Math, 'random').mockReturnValueOnce(0.499).mockReturnValueOnce(0.5);
    const flags = compile({ flag: { enabled: true, rolloutPercentage: 50, strategy: 'random' } });
    expect([flags.evaluate('flag', { key: 'u' }).enabled, flags.evaluate('flag', { key: 'u' }).enabled]).toEqual([true, false]);
    draw.mockRestore();
  });
});

describe('compiled flags', () => {
  const names = fc.constantFrom('a', 'b', 'c', 'a.x', 'b.y', 'constructor');
  const config = fc.record({
    enabled: fc.boolean(),
    rolloutPercentage: fc.integer({ min: 0, max: 100_000 }).map((n) => n / 1000),
    whitelist: fc.array(names, { maxLength: 2 }),
    blacklist: fc.array(names, { maxLength: 2 }),
    killSwitch: fc.boolean(),
    requires: fc.array(names, { maxLength: 2 }),
    rules: fc.array(fc.record({ attribute: fc.constantFrom('p', '__proto__'), operator: fc.constantFrom('equals', 'contains', 'notEquals'), value: fc.oneof(fc.string(), fc.integer(), fc.boolean()) }), { maxLength: 1 }),
  });
  const flagSet = fc.dictionary(names, config);

  it('answer every question alone as they do all together, the same each time, with a reason', () => {
    fc.assert(
      fc.property(flagSet, fc.string(), (flags, key) => {
        const compiled = compile(flags);
        const all = compiled.evaluateAll({ key });
        expect(compiled.evaluateAll({ key })).toEqual(all);
        expect(compiled.names).toEqual(Object.keys(flags).sort());
        for (const name of compiled.names) {
          expect(compiled.evaluate(name, { key })).toMatchObject({ enabled: all.enabled.includes(name), reason: all.reasons[name] });
          expect(FLAG_REASONS).toContain(all.reasons[name]);
        }
      }),
    );
  });

  it('never turn anyone off when a percentage rises', () => {
    const share = fc.integer({ min: 0, max: 100_000 });
    fc.assert(
      fc.property(share, share, fc.string(), (one, other, key) => {
        const at = (thousandths: number) => answerOf({ enabled: true, hashSeed: 's', rolloutPercentage: thousandths / 1000 }, { key }).enabled;
        if (at(Math.min(one, other))) expect(at(Math.max(one, other))).toBe(true);
      }),
    );
  });

  it('never throw, whatever they are asked', () => {
    const hostile = { get p(): never { throw new Error('no'); } };
    const traps = new Proxy({}, { get: () => { throw new Error('no'); }, getOwnPropertyDescriptor: () => { throw new Error('no'); } });
    fc.assert(
      fc.property(flagSet, fc.anything(), fc.anything(), (flags, key, attributes) => {
        const compiled = compile(flags);
        for (const context of [{ key, attributes }, { key, attributes: hostile }, { attributes: traps }, traps, null, undefined, 7]) {
          for (const name of [...compiled.names, 'unknown', undefined]) compiled.evaluate(name as string, context as never);
          compiled.evaluateAll(context as never);
        }
      }),
    );
  });
});
