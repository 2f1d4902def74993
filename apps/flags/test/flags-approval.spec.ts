import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { RolloutAction } from '@mlx-serving/contracts';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const olga = { actor: 'olga', reason: 'all of it' };
const otto = { actor: 'otto', reason: '' };

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('F23: in production', () => {
  let flags: RunningFlags;
  beforeEach(async () => {
    // What another tool writes is not looked for: this flag service is behind.
    flags = await new RunningFlags(server.url, { MLX_SERVING_ENV: 'production', MLX_SERVING_FLAGS_REFRESH_MS: '3600000', MLX_SERVING_FLAGS_REVISION_CHECK_MS: '3600000', MLX_SERVING_FLAGS_ROLLOUT_TICK_MS: '3600000' }).start();
    await flags.redis.connect();
    await flags.link('gateway-1');
    await flags.client.setSegment({ name: 'staff', definitionJson: '{"includedKeys":["ada"]}', ...olga });
    await flags.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":true,"rolloutPercentage":1,"segments":["staff"]}', ...olga });
  });
  afterEach(() => flags.dispose());

  const stored = async () => JSON.parse((await flags.redis.hget('feature_flags', 'gamma')) ?? '{}') as Record<string, unknown>;
  const raise = async () => (await flags.client.patchFlag({ name: 'gamma', patchJson: '{"rolloutPercentage":100}', ...olga })).pending!;
  const decide = (id: string, approve = true) => flags.client.decidePendingChange({ id, approve, ...otto });
  const waiting = async () => (await flags.client.listPendingChanges({})).changes;
  const setSegment = () => flags.client.setSegment({ name: 'staff', definitionJson: '{"includedKeys":["ada"]}', ...olga });
  /** So that no change of the flag can be made, until it is there again. */
  const loseSegment = async (): Promise<void> => {
    const text = await flags.redis.hget('feature_flags:segments', 'staff');
    await flags.redis.hdel('feature_flags:segments', 'staff');
    await flags.client.setSegment({ name: 'other', definitionJson: '{}', ...olga });
    expect(text).toBeDefined();
  };

  it('an approved change does not overwrite what somebody else wrote since, which the flag service had not seen', async () => {
    const { id } = await raise();
    await flags.redis.hset('feature_flags', 'gamma', JSON.stringify({ ...(await stored()), whitelist: ['eve'] }));
    await expect(decide(id)).rejects.toMatchObject({ code: 10 });
    expect(await stored()).toMatchObject({ rolloutPercentage: 1, whitelist: ['eve'] });
    const deletion = (await flags.client.deleteFlag({ name: 'gamma', ...olga })).pending!;
    await flags.redis.hset('feature_flags', 'gamma', JSON.stringify({ ...(await stored()), whitelist: ['zoe'] }));
    await expect(decide(deletion.id)).rejects.toMatchObject({ code: 10 });
    expect(await stored()).toMatchObject({ whitelist: ['zoe'] });
  });

  it('an approved change that cannot be made stays on the list, and is made once it can be', async () => {
    const { id } = await raise();
    await loseSegment();
    await expect(decide(id)).rejects.toMatchObject({ details: expect.stringContaining('no segment staff') });
    expect(await waiting()).toMatchObject([{ id, why: expect.stringContaining('Approved by otto, but not carried out.') }]);
    await setSegment();
    await decide(id);
    expect([(await stored())['rolloutPercentage'], await waiting(), await flags.redis.hlen('feature_flags:pending')]).toEqual([100, [], 0]);
    const { entries } = await flags.client.listAudit({ limit: 2 });
    expect(entries.map(({ action, actor }) => [action, actor])).toEqual([['set', 'olga'], ['segments.set', 'olga']]);
    expect(await flags.client.verifyAudit({})).toMatchObject({ intact: true });
  });

  it('a small step does not become a large one by what somebody else wrote meanwhile, which the flag service had not seen', async () => {
    await flags.client.patchFlag({ name: 'gamma', patchJson: '{"enabled":false,"rolloutPercentage":100}', ...olga });
    await flags.client.patchFlag({ name: 'gamma', patchJson: '{"rolloutPercentage":5}', ...olga });
    await flags.redis.hset('feature_flags', 'gamma', JSON.stringify({ ...(await stored()), rolloutPercentage: 100 }));
    await expect(flags.client.patchFlag({ name: 'gamma', patchJson: '{"enabled":true}', ...olga })).rejects.toMatchObject({ code: 10 });
    expect(await stored()).toMatchObject({ enabled: false, rolloutPercentage: 100 });
    // The flag service has seen it by now.
    expect((await flags.client.patchFlag({ name: 'gamma', patchJson: '{"enabled":true}', ...olga })).pending).toBeDefined();
  });

  it('a rollout that was approved starts, and is off the list', async () => {
    const { pending } = await flags.client.startRollout({ flag: 'gamma', stages: [{ percentage: 100, waitMs: 0n }], ...olga });
    await decide(pending!.id);
    expect([(await flags.client.listRollouts({})).rollouts.map(({ flag }) => flag), await waiting()]).toEqual([['gamma'], []]);
  });

  it('a change that is rejected is not made', async () => {
    const { id } = await raise();
    await decide(id, false);
    await expect(decide(id)).rejects.toMatchObject({ code: 5 });
    expect([(await stored())['rolloutPercentage'], await waiting()]).toEqual([1, []]);
  });

  it('a deletion of a flag that is not at the revision named is not even asked for', async () => {
    await expect(flags.client.deleteFlag({ name: 'gamma', ifRevision: 1n, ...olga })).rejects.toMatchObject({ code: 10 });
    expect(await waiting()).toEqual([]);
  });

  it('a revert needs a reason', async () => {
    const { revision } = (await flags.client.getFlag({ name: 'gamma' })).flag!;
    await expect(flags.client.revertFlag({ name: 'gamma', revision, actor: 'olga', reason: '' })).rejects.toMatchObject({ details: expect.stringContaining('needs a reason') });
  });

  describe('the abort of a rollout', () => {
    const rollout = async () => (await flags.client.listRollouts({})).rollouts[0]!;
    const control = (action: RolloutAction, reason = 'enough') => flags.client.controlRollout({ flag: 'gamma', action, actor: 'olga', reason });
    beforeEach(async () => {
      await flags.client.startRollout({ flag: 'gamma', stages: [{ percentage: 20, waitMs: 3_600_000n }], ...olga });
      await flags.client.patchFlag({ name: 'gamma', patchJson: '{"rolloutPercentage":20}', ...olga });
    });

    it('needs no reason, nor does a pause; going on does', async () => {
      await control(RolloutAction.PAUSE, '');
      await expect(control(RolloutAction.RESUME, '')).rejects.toMatchObject({ details: expect.stringContaining('needs a reason') });
      await control(RolloutAction.RESUME);
      await control(RolloutAction.ABORT, '');
      expect([(await rollout()).state, (await stored())['rolloutPercentage']]).toEqual(['aborted', 1]);
    });

    it('is not confirmed while the percentage cannot be put back, and can be repeated', async () => {
      await loseSegment();
      await expect(control(RolloutAction.ABORT)).rejects.toMatchObject({ details: expect.stringContaining('no segment staff') });
      expect([(await rollout()).state, (await stored())['rolloutPercentage']]).toEqual(['paused', 20]);
      await setSegment();
      await control(RolloutAction.ABORT);
      expect([(await rollout()).state, (await stored())['rolloutPercentage']]).toEqual(['aborted', 1]);
    });
  });
});
