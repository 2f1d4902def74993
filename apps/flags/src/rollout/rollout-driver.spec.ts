import { beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { FlagWrite } from '../flags/flags-service.ts';
import { RolloutDriver } from './rollout-driver.ts';
import type { Rollout } from './rollout-record.ts';
import type { KnownRollout } from './rollout-service.ts';

const running: Rollout = { stages: [{ percentage: 10, waitMs: 0 }, { percentage: 50, waitMs: 0 }], stage: 0, state: 'running', note: '', nextAtMs: 0, from: 1, actor: 'alice', reason: '' };

describe('F24: what a rollout in stages does to the others', () => {
  const shares = new Map<string, number>();
  const writes: [flag: string, write: FlagWrite][] = [];
  const records: [flag: string, state: string, former: string][] = [];
  let harmful: string[];
  let driver: RolloutDriver;
  beforeEach(() => {
    for (const flag of ['broken', 'sound']) shares.set(flag, 10);
    writes.length = records.length = 0;
    harmful = [];
    const patch = async (flag: string, patched: string, write: FlagWrite): Promise<void> => {
      if (flag === 'broken') throw errors.FLAG_INVALID({ problem: 'There is no segment staff.' });
      shares.set(flag, (JSON.parse(patched) as { rolloutPercentage: number }).rolloutPercentage);
      writes.push([flag, write]);
    };
    const list = (): KnownRollout[] => [...shares.keys()].map((flag) => [flag, running, `text of ${flag}`]);
    const record = async (flag: string, { state }: Rollout, former: string): Promise<void> => void records.push([flag, state, former]);
    driver = new RolloutDriver({
      ...{ id: 'one', tickMs: 1_000, logger: silentLogger, guard: async () => null },
      store: { takeLease: async () => true },
      live: { emergency: {}, get: (flag: string) => ({ config: { rolloutPercentage: shares.get(flag) } }) } as never,
      flags: { patch } as never,
      rollouts: { list, record } as never,
      judge: { follow: () => undefined, problemOf: (flag) => (harmful.includes(flag) ? 'It fails more often.' : undefined) },
    });
  });

  it('is nothing when it cannot go on: they do', async () => {
    await driver.tick();
    expect([shares.get('sound'), records]).toEqual([50, [['sound', 'running', 'text of sound']]]);
  });

  it('is nothing when it cannot be rolled back: they go back, or on', async () => {
    harmful = ['broken', 'sound'];
    await driver.tick();
    expect([shares.get('sound'), records]).toEqual([1, [['sound', 'stopped', 'text of sound']]]);
    harmful = ['broken'];
    shares.set('sound', 10);
    await driver.tick();
    expect(shares.get('sound')).toBe(50);
  });

  it('raises the share of no rollout that somebody has changed since it was looked at', async () => {
    await driver.tick();
    expect(writes.map(([flag, { dependsOn }]) => [flag, dependsOn])).toEqual([['sound', { kind: 'rollouts', id: 'sound', text: 'text of sound' }]]);
  });
});
