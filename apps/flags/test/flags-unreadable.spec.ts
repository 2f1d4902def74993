import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Priority } from '@mlx-serving/contracts';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const who = { actor: 'alice', reason: 'a test' };
const KINDS = ['tokens', 'pending', 'rollouts', 'api-keys', 'segments'];

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('records that another tool has spoilt', () => {
  let flags: RunningFlags;
  beforeEach(async () => {
    flags = await new RunningFlags(server.url, { MLX_SERVING_ENV: 'production' }).start();
    await flags.redis.connect();
    await flags.link('gateway-1');
  });
  afterEach(() => flags.dispose());

  it.each(['no JSON', '[]', '{"name":7}'])('keep nobody from the others: %s', async (garbage) => {
    const [olga, otto] = await Promise.all(['olga', 'otto'].map((name) => flags.client.createToken({ name, role: 'operator', actor: 'admin' })));
    await flags.client.createApiKey({ key: { name: 'search', priority: Priority.NORMAL }, actor: 'olga' });
    const asked = await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":100}', actor: 'olga', reason: 'all' });
    await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":5}', ...who });
    await flags.client.startRollout({ flag: 'beta', stages: [{ percentage: 10, waitMs: 3_600_000n }], ...who });
    for (const kind of KINDS) await flags.redis.hset(`feature_flags:${kind}`, 'a-spoilt', garbage);
    while ((await flags.client.listAudit({ flag: 'a-spoilt' })).entries.length < KINDS.length);
    const { token } = await flags.client.authenticateToken({ secretHash: createHash('sha256').update(olga!.secret).digest('hex') });
    expect(token).toMatchObject({ name: 'olga', role: 'operator' });
    expect((await flags.client.listTokens({})).tokens.map(({ name }) => name).sort()).toEqual(['olga', 'otto']);
    expect((await flags.client.listApiKeys({})).keys.map(({ key }) => key?.name)).toEqual(['search']);
    expect((await flags.client.listPendingChanges({})).changes.map(({ id }) => id)).toEqual([asked.pending!.id]);
    expect((await flags.client.listRollouts({})).rollouts.map(({ flag }) => flag)).toEqual(['beta']);
    await expect(flags.client.decidePendingChange({ id: asked.pending!.id, approve: true, actor: otto!.token!.name, reason: '' })).rejects.toMatchObject({ details: expect.stringContaining('has changed since') });
  });

  it('are mended by writing again what still holds', async () => {
    const write = () => flags.client.setSegment({ name: 'staff', definitionJson: '{"includedKeys":["ada"]}', ...who });
    const stored = () => flags.redis.hget('feature_flags:segments', 'staff');
    await write();
    const sound = await stored();
    await flags.redis.hset('feature_flags:segments', 'staff', '{"includedKeys":7}');
    while ((await flags.client.listAudit({ action: 'segments.external' })).entries.length === 0);
    await write();
    expect(JSON.parse((await stored())!).definition).toBe(JSON.parse(sound!).definition);
    expect((await flags.operations('/health/ready')).text).not.toContain('segment:staff');
  });
});
