import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { readInstant } from './flag-instant.ts';
import { compilePattern, MAX_MATCHED_LENGTH } from './flag-pattern.ts';
import { flagRule } from './flag-rule.ts';
import { compareVersions, readVersion, type Version } from './flag-version.ts';

describe('flagRule (F5)', () => {
  it.each([
    ['notEquals', 'a'],
    ['in', ['a', 1, true]],
    ['notIn', ['a']],
    ['startsWith', 'a'],
    ['endsWith', 'a'],
    ['matches', '^a+$'],
    ['lessThan', 1],
    ['greaterThanOrEqual', 1],
    ['lessThanOrEqual', 1],
    ['before', '2026-01-31'],
    ['after', 1_700_000_000_000],
    ['semverLessThan', '1.2.3-rc.1'],
  ])('takes %s %j', (operator, value) => {
    expect(flagRule.safeParse({ attribute: 'x', operator, value }).success).toBe(true);
  });

  it.each([
    ['like', 'a'],
    ['greaterThan', '18'],
    ['startsWith', ''],
    ['in', []],
    ['in', 'a'],
    ['matches', '(?=a)'],
    ['matches', '(a)\\1'],
    ['matches', '('],
    ['before', '2026-02-30'],
    ['before', '2026-01-31T12:00:00'],
    ['semverEqual', '1.2'],
    ['equals', null],
  ])('refuses %s %j when it is written, so that it can never let anyone through', (operator, value) => {
    expect(flagRule.safeParse({ attribute: 'x', operator, value }).success).toBe(false);
  });
});

describe('compilePattern', () => {
  it('finds a pattern anywhere, and needs time in proportion to the text for what would stop others', () => {
    expect([compilePattern('@example\\.(org|com)$')('a@example.org'), compilePattern('^a$')('ba')]).toEqual([true, false]);
    expect(compilePattern('^(a+)+$')(`${'a'.repeat(MAX_MATCHED_LENGTH - 1)}!`)).toBe(false);
  });

  it('never matches a text that is too long', () => {
    expect([compilePattern('a')('a'.repeat(MAX_MATCHED_LENGTH)), compilePattern('a')('a'.repeat(MAX_MATCHED_LENGTH + 1))]).toEqual([true, false]);
  });
});

describe('readInstant', () => {
  it.each([
    ['2026-01-31', 1_769_817_600_000],
    ['2026-01-31T01:00:00+01:00', 1_769_817_600_000],
    ['2026-01-31T00:00Z', 1_769_817_600_000],
    [1_769_817_600_000, 1_769_817_600_000],
    [new Date(1_769_817_600_000), 1_769_817_600_000],
  ])('reads %p', (value, expected) => {
    expect(readInstant(value)).toBe(expected);
  });

  it.each(['', 'yesterday', '2026', '2026-13-01', '2026-02-29', '2026-01-31T25:00Z', '1769817600000', Number.NaN, new Date('x'), null, true, {}])('does not read %p', (value) => {
    expect(readInstant(value)).toBeUndefined();
  });
});

describe('compareVersions', () => {
  const ordered = ['0.9.9', '1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0-rc.1', '1.0.0', '1.0.1', '1.2.0', '1.10.0', '2.0.0'];
  const read = (text: string): Version => readVersion(text)!;

  it('orders as Semantic Versioning 2.0.0 says', () => {
    const index = fc.integer({ min: 0, max: ordered.length - 1 });
    fc.assert(fc.property(index, index, (a, b) => Math.sign(compareVersions(read(ordered[a]!), read(ordered[b]!))) === Math.sign(a - b)));
    expect(compareVersions(read('1.0.0+build.1'), read('1.0.0'))).toBe(0);
  });

  it.each(['1', '1.2', 'v1.2.3', '01.2.3', '1.2.3-', '1.2.3-01', '1.2.3 ', '', null, 1])('does not read %p', (text) => {
    expect(readVersion(text)).toBeUndefined();
  });
});
