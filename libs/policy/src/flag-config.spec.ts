import { describe, expect, it } from '@jest/globals';
import { flagConfig, flagName, parentOf } from './flag-config.ts';

describe('flagConfig', () => {
  it('reads the least that a tool may write, as off unless it says enabled', () => {
    expect(flagConfig.parse({})).toEqual({
      enabled: false, rolloutPercentage: 100, strategy: 'hash', whitelist: [], blacklist: [], killSwitch: false, rules: [], requires: [], parameters: {},
    });
  });

  it('keeps fields that it does not know', () => {
    expect(flagConfig.parse({ enabled: true, owner: { team: 'x' } })).toMatchObject({ owner: { team: 'x' } });
  });

  it.each([
    { enabled: 'yes' },
    { rolloutPercentage: 101 },
    { rolloutPercentage: '50' },
    { whitelist: 'u1' },
    { rules: [{ attribute: '', operator: 'equals', value: 1 }] },
    { rules: [{ attribute: 'a', operator: 'equals', value: 1, negate: true }] },
    { parameters: { nested: {} } },
    null,
    [],
  ])('refuses %j', (value) => {
    expect(flagConfig.safeParse(value).success).toBe(false);
  });
});

describe('flagName', () => {
  it.each(['a', 'ttft_pipeline', 'ttft_pipeline.speculation', 'A-1'])('takes %p', (name) => {
    expect(flagName.safeParse(name).success).toBe(true);
  });

  it.each(['', '.', 'a.', '.a', 'a.b.c', '1a', '__proto__', 'a b', `a${'b'.repeat(128)}`, 'a\n'])('refuses %p', (name) => {
    expect(flagName.safeParse(name).success).toBe(false);
  });
});

describe('parentOf', () => {
  it('names the parent of a sub-feature, and none for a flag of the first level', () => {
    expect([parentOf('a.b'), parentOf('a')]).toEqual(['a', undefined]);
  });
});
