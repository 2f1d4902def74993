import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const who = { actor: 'alice', reason: 'a test' };
const HOUR_MS = 3_600_000n;
const SELDOM = { MLX_SERVING_FLAGS_REFRESH_MS: '3600000', MLX_SERVING_FLAGS_REVISION_CHECK_MS: '3600000' };

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

/** What the source documents' sample of a flag service gets wrong, and must be right here. What it decides wrongly is pinned in libs/evaluation. */
describe('defects of the sample service that are not copied', () => {
  let flags: RunningFlags;
  const start = async (settings: Record<string, string> = {}): Promise<void> => {
    flags = await new RunningFlags(server.url, settings).start();
    await flags.redis.connect();
  };
  afterEach(() => flags.dispose());
  const inRedis = async (name: string) => JSON.parse((await flags.redis.hget('feature_flags', name)) ?? '{}') as Record<string, unknown>;

  it('a killed flag does not come back on at the next stage of its rollout, and a stage empties no list and no rule', async () => {
    await start({ MLX_SERVING_FLAGS_ROLLOUT_TICK_MS: '20' });
    await flags.link('gateway-1');
    const kept = { whitelist: ['good'], blacklist: ['bad'], rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] };
    await flags.client.patchFlag({ name: 'beta', patchJson: JSON.stringify({ rolloutPercentage: 0, ...kept }), ...who });
    await flags.client.startRollout({ flag: 'beta', stages: [{ percentage: 1, waitMs: HOUR_MS }, { percentage: 100, waitMs: 0n }], ...who });
    const rollout = async () => (await flags.client.listRollouts({})).rollouts[0];
    // A rollout is listed before its first stage is written.
    while ((await inRedis('beta')).rolloutPercentage !== 1);
    expect(await inRedis('beta')).toMatchObject({ rolloutPercentage: 1, ...kept });
    await flags.client.killFlag({ name: 'beta', ...who });
    while ((await rollout())?.state !== 'stopped');
    expect(await inRedis('beta')).toMatchObject({ rolloutPercentage: 1, ...kept });
    expect((await flags.client.getFlag({ name: 'beta' })).flag?.kill?.actor).toBe('alice');
  });

  it('a kill that is decided from a stale cache loses no edit: it writes nothing of the flag', async () => {
    await start(SELDOM);
    const gateway = await flags.link('gateway-1');
    const edited = '{"enabled":true,"rolloutPercentage":7,"blacklist":["bad"],"owner":"search"}';
    await flags.redis.hset('feature_flags', 'alpha', edited);
    await flags.client.killFlag({ name: 'alpha', ...who });
    expect(await flags.redis.hget('feature_flags', 'alpha')).toBe(edited);
    // On a slow machine the edit is noticed first, and has a delta of its own.
    await gateway.until(() => gateway.deltas.find(({ changed }) => changed.some(({ name, kill }) => name === 'alpha' && kill)));
    await flags.client.reviveFlag({ name: 'alpha', ...who });
    expect(await flags.redis.hget('feature_flags', 'alpha')).toBe(edited);
  });

  it('an edit that is decided from a stale cache loses no edit of another tool', async () => {
    await start(SELDOM);
    await flags.link('gateway-1');
    await flags.redis.hset('feature_flags', 'alpha', '{"enabled":true,"blacklist":["bad"]}');
    await flags.client.patchFlag({ name: 'alpha', patchJson: '{"rolloutPercentage":7}', ...who });
    expect(await inRedis('alpha')).toMatchObject({ rolloutPercentage: 7, blacklist: ['bad'] });
  });

  it('no flag is unknown in the first seconds after a start: a gateway gets all of them in its first message, and a flag that was deleted meanwhile is gone', async () => {
    await start(SELDOM);
    await flags.link('gateway-1');
    await flags.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":true}', ...who });
    await flags.client.setFlag({ name: 'delta', definitionJson: '{"enabled":true}', ...who });
    await flags.stop();
    await flags.redis.hdel('feature_flags', 'delta');
    await flags.start();
    const gateway = await flags.link('gateway-2');
    await gateway.until(() => !gateway.snapshots.at(-1)?.flags.some(({ name }) => name === 'delta') || gateway.deltas.some(({ removed }) => removed.includes('delta')));
    expect(gateway.received[0]?.message.case).toBe('snapshot');
    expect(gateway.snapshots[0]?.flags.map(({ name }) => name)).toEqual(expect.arrayContaining(['alpha', 'beta', 'gamma']));
    expect((await flags.client.listFlags({})).snapshot?.flags.map(({ name }) => name).sort()).toEqual(['alpha', 'beta', 'gamma']);
  });

  it('decisions are counted in memory and added up in Redis in batches, not one by one', async () => {
    await start();
    const gateway = await flags.link('gateway-1');
    await flags.redis.config('RESETSTAT');
    for (let sent = 0; sent < 500; sent++) gateway.send({ case: 'decisionCounts', value: { counts: [{ flag: 'alpha', enabled: 1n, disabled: 1n }] } });
    while ((await flags.client.getFlagMetrics({ name: 'alpha' })).enabled < 500n);
    await flags.stop();
    expect(await flags.redis.mget('flag:alpha:enabled', 'flag:alpha:disabled')).toEqual(['500', '500']);
    const additions = Number(/cmdstat_incrby:calls=(\d+)/.exec(await flags.redis.info('commandstats'))?.[1]);
    expect(additions).toBeLessThan(100);
    await flags.start();
  });

  it('a flag that nobody asked for has decisions of 0 and 0', async () => {
    await start();
    await flags.link('gateway-1');
    expect(await flags.client.getFlagMetrics({ name: 'alpha' })).toMatchObject({ enabled: 0n, disabled: 0n });
  });
});
