import { describe, expect, it } from '@jest/globals';
import { flagConfig } from '@mlx-serving/policy';
import { StaleService } from './stale-service.ts';

const HOUR_MS = 3_600_000;

/** Flags that were all asked for, and are as they are for two hours unless their name is "fresh". */
function staleOf(definitions: Record<string, object>, { killed = '', decided = true } = {}): Promise<string[]> {
  const flags = Object.entries(definitions).map(([name, definition], i) => ({ name, revision: BigInt(i), config: flagConfig.parse({ enabled: true, ...definition }), kill: name === killed ? {} : undefined }));
  const live = { flags, get: (wanted: string) => flags.find(({ name }) => name === wanted) };
  const changedAt = new Map(flags.map(({ name, revision }) => [revision, Date.now() - (name === 'fresh' ? 0 : 2 * HOUR_MS)]));
  const store = { changedAt: async () => changedAt, decisions: async () => ({ enabled: decided ? 1n : 0n, disabled: 0n }) };
  return new StaleService(store as never, live as never).list(HOUR_MS).then((found) => found.map(({ name, why }) => `${name} ${why}`));
}

describe('stale flags (F25)', () => {
  it('are those that are on for everyone and unchanged for so long, and not one that changed since', async () => {
    expect(await staleOf({ done: {}, fresh: {} })).toEqual(['done rolled-out']);
  });

  it('are those that nobody asked for, however they stand', async () => {
    expect(await staleOf({ forgotten: { rolloutPercentage: 5 } }, { decided: false })).toEqual(['forgotten never-evaluated']);
  });

  it.each([
    ['is off', { enabled: false }],
    ['is on for a share', { rolloutPercentage: 99.999 }],
    ['is on for its whitelist only', { whitelistOnly: true, whitelist: ['ada'] }],
    ['has a blacklist', { blacklist: ['bob'] }],
    ['has a rule', { rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] }],
    ['has a segment', { segments: ['staff'] }],
    ['has variants to tell apart', { variants: [{ name: 'a', weight: 50 }, { name: 'b', weight: 50 }] }],
    ['says killSwitch', { killSwitch: true }],
    ['is on for a share in one environment', { environments: { production: { rolloutPercentage: 10 } } }],
  ])('are not called rolled out when the flag %s', async (_, definition) => {
    expect(await staleOf({ flag: definition })).toEqual([]);
  });

  it('are not called rolled out while they are killed, or while what they require is not on for everyone', async () => {
    expect(await staleOf({ flag: {} }, { killed: 'flag' })).toEqual([]);
    expect(await staleOf({ base: { rolloutPercentage: 50 }, above: { requires: ['base'] }, 'base.part': {} })).toEqual([]);
    expect(await staleOf({ base: {}, above: { requires: ['base'] }, 'base.part': {} })).toEqual(['base rolled-out', 'above rolled-out', 'base.part rolled-out']);
  });
});
