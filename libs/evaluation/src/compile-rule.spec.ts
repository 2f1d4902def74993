import { describe, expect, it } from '@jest/globals';
import { type FlagRule, flagRule, RULE_OPERATORS } from '@mlx-serving/policy';
import fc from 'fast-check';
import { compileRule, matchesRule } from './compile-rule.ts';

const matches = (operator: string, value: unknown, attributes: unknown): boolean => matchesRule(compileRule(flagRule.parse({ attribute: 'x', operator, value })), attributes);
const values: Record<FlagRule['operator'], unknown> = {
  equals: 'a', notEquals: 'a', in: ['a', 7], notIn: ['a', 7], contains: 'a', startsWith: 'a', endsWith: 'a', matches: '^a', greaterThan: 1, greaterThanOrEqual: 1, lessThan: 1,
  lessThanOrEqual: 1, before: '2026-01-31', after: '2026-01-31', semverEqual: '1.2.3', semverGreaterThan: '1.2.3', semverGreaterThanOrEqual: '1.2.3', semverLessThan: '1.2.3',
  semverLessThanOrEqual: '1.2.3',
};

describe('the operators of rules (F5)', () => {
  it.each([
    ['equals', 7, [7], [8, '7', true]],
    ['notEquals', 'a', ['b', ''], ['a', 1, null]],
    ['in', ['a', 7, true], ['a', 7, true], ['b', 8, false, '7', ['a']]],
    ['notIn', ['a', 'b'], ['c', ''], ['a', 'b', 7, true, null]],
    ['contains', 'b', ['abc', ['a', 'b']], ['ac', ['abc'], 7, null]],
    ['contains', 7, [[7]], ['7', ['7'], 7]],
    ['startsWith', 'ab', ['abc', 'ab'], ['cab', ['ab'], 7]],
    ['endsWith', '@example.org', ['a@example.org'], ['@example.org.evil', 7]],
    ['matches', '^(a|b)+$', ['abba'], ['abc', 7]],
    ['greaterThan', 18, [18.5, Infinity], [18, '19', Number.NaN, null, 10n ** 20n]],
    ['greaterThanOrEqual', 18, [18, 19], [17.9, '19']],
    ['lessThan', 18, [17], [18, '17', undefined]],
    ['lessThanOrEqual', 18, [18, -Infinity], [18.1]],
    ['before', '2026-01-31', ['2026-01-30', '2026-01-31T00:30:00+01:00', 0, new Date(0)], ['2026-01-31', '2027-01-01', 'yesterday', '']],
    ['after', '2026-01-31T12:00:00Z', ['2026-01-31T12:00:01Z', '2026-02-01'], ['2026-01-31T12:00:00Z', '2026-01-31']],
    ['semverEqual', '1.2.3', ['1.2.3', '1.2.3+build'], ['1.2.4', '1.2', 1]],
    ['semverGreaterThan', '1.9.0', ['1.10.0', '2.0.0-rc.1'], ['1.9.0', '1.9.0-rc.1']],
    ['semverGreaterThanOrEqual', '1.9.0', ['1.9.0'], ['1.8.9']],
    ['semverLessThan', '1.0.0', ['1.0.0-rc.1', '0.9.9'], ['1.0.0', 'v0.1.0']],
    ['semverLessThanOrEqual', '1.0.0', ['1.0.0'], ['1.0.1']],
  ])('%s %j', (operator, value, matching, others) => {
    for (const attribute of matching) expect([attribute, matches(operator, value, { x: attribute })]).toEqual([attribute, true]);
    for (const attribute of others) expect([attribute, matches(operator, value, { x: attribute })]).toEqual([attribute, false]);
  });

  it.each(RULE_OPERATORS.map((operator) => [operator]))('%s never matches a missing, inherited, unreadable or absent attribute', (operator) => {
    const value = values[operator];
    const hostile = { get x(): never { throw new Error('no'); } };
    for (const attributes of [{}, Object.create({ x: 'a' }), hostile, undefined, null, 'x', { x: undefined }, { x: null }, { x: {} }, { x: Symbol('a') }]) {
      expect(matches(operator, value, attributes)).toBe(false);
    }
  });

  it('answer whatever they are asked, without throwing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...RULE_OPERATORS), fc.anything(), (operator, attribute) => {
        expect(typeof matches(operator, values[operator], { x: attribute })).toBe('boolean');
      }),
      { numRuns: 2_000 },
    );
  });

  it('never match when nobody knows the operator or reads the value, as another tool may write them past the schema', () => {
    for (const rule of [{ operator: 'like', value: 1 }, { operator: 'matches', value: '(' }, { operator: 'in', value: 7 }, { operator: 'constructor', value: 1 }]) {
      expect(matchesRule(compileRule({ attribute: 'x', ...rule } as never), { x: 1 })).toBe(false);
    }
  });

  it('need time in proportion to the text, for patterns that would stop others', () => {
    expect(matches('matches', '^(([a-z])+.)+[A-Z]([a-z])+$', { x: 'a'.repeat(4_000) })).toBe(false);
  });
});
