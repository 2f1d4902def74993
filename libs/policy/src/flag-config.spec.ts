import { describe, expect, it } from '@jest/globals';
import { flagConfig, flagInEnvironment, flagName, parentOf, referencesOf } from './flag-config.ts';

describe('flagConfig', () => {
  it('reads the least that a tool may write, as off unless it says enabled', () => {
    expect(flagConfig.parse({})).toEqual({
      enabled: false, rolloutPercentage: 100, strategy: 'hash', whitelist: [], blacklist: [], whitelistOnly: false, killSwitch: false, segments: [], rules: [], requires: [],
      variants: [], parameters: {}, abortInFlight: false, environments: {},
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
    { segments: ['a b'] },
    { environments: { production: { enabeld: true } } },
    { environments: { production: { killSwitch: false } } },
    { environments: { Production: {} } },
    null,
    [],
  ])('refuses %j', (value) => {
    expect(flagConfig.safeParse(value).success).toBe(false);
  });
});

describe('flagInEnvironment (F9)', () => {
  const config = flagConfig.parse({
    enabled: true, rolloutPercentage: 50, hashSeed: 's', requires: ['a'], parameters: { x: 1, y: 1 }, note: 'kept',
    environments: { production: { rolloutPercentage: 1, whitelist: ['u'], requires: ['b'], segments: ['staff'], parameters: { y: 2 } }, test: {} },
  });

  it('puts what the environment says in the place of what the flag says, and leaves the rest', () => {
    expect(flagInEnvironment(config, 'production')).toMatchObject({ enabled: true, rolloutPercentage: 1, hashSeed: 's', whitelist: ['u'], parameters: { x: 1, y: 2 }, note: 'kept' });
  });

  it.each(['development', 'test', '__proto__', 'constructor', ''])('leaves the flag as it is in the environment %p', (environment) => {
    expect(flagInEnvironment(config, environment)).toMatchObject({ rolloutPercentage: 50, whitelist: [], parameters: { x: 1, y: 1 } });
  });

  it('names what the flag refers to in any environment', () => {
    expect(referencesOf(config)).toEqual({ requires: ['a', 'b'], segments: ['staff'] });
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
