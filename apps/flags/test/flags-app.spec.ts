import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { FlagsLinkRequestSchema } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { createApp, environment } from '../src/index.ts';
import { RunningFlags } from './running-flags.ts';

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

const who = { actor: 'alice', reason: 'it burns' };
const definitionOf = (flag: { definitionJson: string } | undefined): Record<string, unknown> => JSON.parse(flag?.definitionJson ?? '{}') as Record<string, unknown>;

it('refuses to listen beyond loopback, where its gRPC has neither tokens nor TLS, unless the network is declared trusted', () => {
  const settings = { MLX_SERVING_HOST: '0.0.0.0' };
  expect(() => createApp(readEnvironment(environment, settings), silentLogger)).toThrow('MLX_SERVING_TRUSTED_NETWORK');
  expect(() => createApp(readEnvironment(environment, { ...settings, MLX_SERVING_TRUSTED_NETWORK: 'true' }), silentLogger)).not.toThrow();
});

describe('the flag service', () => {
  let flags: RunningFlags;

  beforeEach(async () => {
    flags = await new RunningFlags(server.url, { MLX_SERVING_FLAGS_ACK_TIMEOUT_MS: '300' }).start();
    await flags.redis.connect();
  });
  afterEach(() => flags.dispose());

  it('kills a flag on every linked gateway, and answers who has applied it and in how many milliseconds', async () => {
    const [one, two] = await Promise.all([flags.link('gateway-1'), flags.link('gateway-2')]);
    const { propagation } = await flags.client.killFlag({ name: 'alpha', ...who });
    expect(propagation?.acknowledged.map((replica) => replica.replicaId).sort()).toEqual(['gateway-1', 'gateway-2']);
    expect(propagation?.missing).toEqual([]);
    for (const replica of propagation?.acknowledged ?? []) expect(replica.milliseconds).toBeGreaterThan(0);
    for (const gateway of [one, two]) {
      const delta = gateway.deltas.find(({ revision }) => revision === propagation?.revision);
      expect(delta).toMatchObject({ baseRevision: propagation!.revision - 1n, removed: [], changed: [{ name: 'alpha', kill: { actor: 'alice', reason: 'it burns' } }] });
    }
  });

  it('names a gateway that does not acknowledge', async () => {
    await flags.link('gateway-1');
    (await flags.link('gateway-deaf')).acknowledges = false;
    const { propagation } = await flags.client.killFlag({ name: 'alpha', ...who });
    expect(propagation?.missing).toEqual(['gateway-deaf']);
    expect(propagation?.acknowledged.map((replica) => replica.replicaId)).toEqual(['gateway-1']);
  });

  it('keeps a kill through a write that says killSwitch false, a raw HSET and a restart, until a revive', async () => {
    await flags.link('gateway-1');
    await flags.client.killFlag({ name: 'alpha', ...who });
    const { flag } = await flags.client.setFlag({ name: 'alpha', definitionJson: '{"enabled":true,"killSwitch":false}', ...who });
    expect(flag?.kill?.actor).toBe('alice');
    await flags.redis.hset('feature_flags', 'alpha', '{"enabled":true,"killSwitch":false,"rolloutPercentage":7}');
    await flags.stop();
    await flags.start();
    await flags.link('gateway-2');
    expect((await flags.client.getFlag({ name: 'alpha' })).flag?.kill?.reason).toBe('it burns');
    await flags.client.reviveFlag({ name: 'alpha', ...who });
    expect((await flags.client.getFlag({ name: 'alpha' })).flag?.kill).toBeUndefined();
  });

  it('does not kill a flag that it does not know', async () => {
    await flags.link('gateway-1');
    await expect(flags.client.killFlag({ name: 'alhpa', ...who })).rejects.toMatchObject({ code: 5, details: 'There is no flag alhpa.' });
  });

  it('sends the emergency to every gateway, and lifts only the switch that is named', async () => {
    const gateway = await flags.link('gateway-1');
    const { propagation } = await flags.client.setEmergency({ killSwitch: true, rollbackToBaseline: true, ...who });
    expect(propagation?.acknowledged).toHaveLength(1);
    expect(gateway.deltas.at(-1)).toMatchObject({ changed: [], emergency: { killSwitch: true, rollbackToBaseline: true, actor: 'alice' } });
    const { emergency } = await flags.client.setEmergency({ killSwitch: false, ...who });
    expect(emergency).toMatchObject({ killSwitch: false, rollbackToBaseline: true });
    await expect(flags.client.setEmergency({ ...who })).rejects.toMatchObject({ code: 3 });
  });

  it('notices what another tool writes and deletes in Redis, and sends it as a delta', async () => {
    const gateway = await flags.link('gateway-1');
    await flags.redis.hset('feature_flags', 'raw', '{"enabled":true,"rolloutPercentage":10,"owner":"search"}');
    const added = await gateway.deltaOf('raw');
    expect(added.changed).toMatchObject([{ name: 'raw', revision: added.revision }]);
    await flags.redis.hdel('feature_flags', 'raw');
    expect((await gateway.deltaOf('raw', gateway.deltas.indexOf(added) + 1)).removed).toEqual(['raw']);
    await expect(flags.client.getFlag({ name: 'raw' })).rejects.toMatchObject({ code: 5 });
  });

  it('keeps the fields of a flag that only another tool knows', async () => {
    const gateway = await flags.link('gateway-1');
    await flags.redis.hset('feature_flags', 'raw', '{"enabled":true,"owner":"search","killSwitch":true}');
    await gateway.deltaOf('raw');
    const { flag } = await flags.client.setFlag({ name: 'raw', definitionJson: '{"enabled":false}', ...who });
    expect(definitionOf(flag)).toMatchObject({ enabled: false, owner: 'search', killSwitch: true, rolloutPercentage: 100 });
    expect(definitionOf((await flags.client.setFlag({ name: 'raw', definitionJson: '{"killSwitch":false}', ...who })).flag)).toMatchObject({ killSwitch: false });
  });

  it('writes over a raw HSET that it had not noticed yet, without losing its fields', async () => {
    await flags.link('gateway-1');
    await flags.redis.hset('feature_flags', 'alpha', '{"enabled":false,"owner":"search"}');
    const { flag } = await flags.client.setFlag({ name: 'alpha', definitionJson: '{"enabled":true}', ...who });
    expect(definitionOf(flag)).toMatchObject({ enabled: true, owner: 'search' });
  });

  it('reports an entry that cannot be read, and keeps the last good value of that flag alone', async () => {
    const gateway = await flags.link('gateway-1');
    await flags.redis.hset('feature_flags', 'alpha', '{"enabled":', 'fresh', '{"enabled":true}');
    await gateway.deltaOf('fresh');
    expect(definitionOf((await flags.client.getFlag({ name: 'alpha' })).flag)).toMatchObject({ enabled: true });
    const ready = await flags.operations('/health/ready');
    expect(JSON.parse(ready.text)).toMatchObject({ undecodable: { alpha: 'The definition is not JSON.' } });
    expect((await flags.operations('/metrics')).text).toContain('mlx_serving_feature_flags_undecodable_entries 1');
    expect((await flags.client.killFlag({ name: 'alpha', ...who })).propagation?.acknowledged).toHaveLength(1);
  });

  it('refuses a write for a revision that is not the present one', async () => {
    await flags.link('gateway-1');
    const { revision } = (await flags.client.getFlag({ name: 'alpha' })).flag!;
    await flags.client.setFlag({ name: 'alpha', definitionJson: '{"enabled":false}', ifRevision: revision, ...who });
    const late = flags.client.setFlag({ name: 'alpha', definitionJson: '{"enabled":true}', ifRevision: revision, ...who });
    await expect(late).rejects.toMatchObject({ code: 10 });
    expect(definitionOf((await flags.client.getFlag({ name: 'alpha' })).flag)).toMatchObject({ enabled: false });
  });

  it.each([
    ['a percentage with four decimals', 'alpha', '{"enabled":true,"rolloutPercentage":0.0001}', /three decimals/],
    ['a percentage above 100', 'alpha', '{"enabled":true,"rolloutPercentage":101}', /at most 100/],
    ['an operator that does not exist', 'alpha', '{"enabled":true,"rules":[{"attribute":"a","operator":"like","value":1}]}', /operator/],
    ['what is not JSON', 'alpha', 'enabled', /not JSON/],
    ['a required flag that is unknown', 'alpha', '{"enabled":true,"requires":["nowhere"]}', /no flag nowhere/],
    ['a circle of requirements', 'alpha', '{"enabled":true,"requires":["beta"]}', /circle/],
    ['a sub-feature without its parent', 'gamma.part', '{"enabled":true}', /no flag gamma/],
    ['a third level', 'alpha.b.c', '{"enabled":true}', /at most one dot/],
    ['a reserved name', 'emergency', '{"enabled":true}', /not a flag/],
  ])('refuses %s, and says so', async (_, name, definitionJson, problem) => {
    await flags.link('gateway-1');
    await expect(flags.client.setFlag({ name, definitionJson, ...who })).rejects.toMatchObject({ code: 3, details: expect.stringMatching(problem) });
  });

  it('applies only the flags whose own text in the file changed', async () => {
    const gateway = await flags.link('gateway-1');
    await flags.client.setFlag({ name: 'alpha', definitionJson: '{"enabled":true,"rolloutPercentage":3,"hashSeed":"a"}', ...who });
    flags.writeFile('# a comment\nbeta: { enabled: true, rollout_percentage: 60, hash_seed: b, requires: [alpha] }\nalpha: { enabled: true, rollout_percentage: 100, hash_seed: a }\n');
    const from = gateway.deltas.length;
    await flags.app.reload();
    expect((await gateway.deltaOf('beta', from)).changed.map(({ name }) => name)).toEqual(['beta']);
    expect(definitionOf((await flags.client.getFlag({ name: 'alpha' })).flag)).toMatchObject({ rolloutPercentage: 3 });
    expect(definitionOf((await flags.client.getFlag({ name: 'beta' })).flag)).toMatchObject({ rolloutPercentage: 60 });
  });

  it('does not undo on a restart what an operator did to a flag of the file', async () => {
    await flags.link('gateway-1');
    await flags.client.setFlag({ name: 'alpha', definitionJson: '{"enabled":false}', ...who });
    await flags.stop();
    await flags.start();
    await flags.link('gateway-2');
    expect(definitionOf((await flags.client.getFlag({ name: 'alpha' })).flag)).toMatchObject({ enabled: false });
  });

  it('keeps the old flags when the file is invalid, and counts it', async () => {
    await flags.link('gateway-1');
    flags.writeFile('alpha: { enabled: maybe }\n');
    await flags.app.reload();
    expect((await flags.operations('/metrics')).text).toContain('mlx_serving_feature_flags_refused_files_total 1');
    expect((await flags.client.listFlags({})).snapshot?.flags.map(({ name }) => name)).toEqual(['alpha', 'beta']);
  });

  it('latches an emergency of the file, which only an operator lifts', async () => {
    const gateway = await flags.link('gateway-1');
    const text = 'alpha: { enabled: true, hash_seed: a }\nbeta: { enabled: true, hash_seed: b }\n';
    flags.writeFile(`${text}emergency: { kill_switch: true }\n`);
    await flags.app.reload();
    await gateway.until(() => gateway.deltas.some((delta) => delta.emergency?.killSwitch));
    flags.writeFile(`${text}emergency: { kill_switch: false }\n`);
    await flags.app.reload();
    expect((await flags.client.listFlags({})).snapshot?.emergency?.killSwitch).toBe(true);
    await flags.client.setEmergency({ killSwitch: false, ...who });
    expect((await flags.client.listFlags({})).snapshot?.emergency?.killSwitch).toBe(false);
  });

  it('sends everything again to a gateway that saw a gap', async () => {
    const gateway = await flags.link('gateway-1');
    const before = gateway.snapshots.length;
    gateway.send({ case: 'resync', value: {} });
    await gateway.until(() => gateway.snapshots.length > before);
    expect(gateway.snapshots.at(-1)?.flags.map(({ name }) => name)).toEqual(['alpha', 'beta']);
  });

  it('counts the decisions of gateways, of flags that it knows', async () => {
    const gateway = await flags.link('gateway-1');
    gateway.send({ case: 'decisionCounts', value: { counts: [{ flag: 'alpha', enabled: 3n, disabled: 1n }, { flag: 'bogus', enabled: 9n }] } });
    gateway.send({ case: 'resync', value: {} });
    const before = gateway.snapshots.length;
    await gateway.until(() => gateway.snapshots.length > before);
    expect(await flags.client.getFlagMetrics({ name: 'alpha' })).toMatchObject({ enabled: 3n, disabled: 1n });
    const { text } = await flags.operations('/metrics');
    expect(text).toContain('mlx_serving_feature_flags_decisions_total{feature="alpha",enabled="true"} 3');
    expect(text).toContain('mlx_serving_feature_flags_rollout_percentage{feature="beta"} 50');
    expect(text).toContain('mlx_serving_feature_flags_kill_switch{value="false"} 0');
    expect(text).not.toContain('bogus');
    await flags.stop();
    expect(await flags.redis.mget('flag:alpha:enabled', 'flag:alpha:disabled', 'flag:bogus:enabled')).toEqual(['3', '1', null]);
    await flags.start();
  });

  it('ends a link whose first message is not a hello', async () => {
    await flags.link('gateway-1');
    const stream = flags.client.link();
    const error = new Promise((resolve) => stream.once('error', resolve));
    stream.on('data', () => undefined);
    stream.write(create(FlagsLinkRequestSchema, { message: { case: 'resync', value: {} } }));
    expect(await error).toMatchObject({ code: 3, details: 'The first message of a link is a hello with a replica_id.' });
  });

  it('gives two services on one Redis the same flags', async () => {
    const other = await new RunningFlags(server.url).start();
    const gateway = await other.link('gateway-of-the-other');
    await flags.link('gateway-1');
    try {
      await flags.client.killFlag({ name: 'alpha', ...who });
      expect((await gateway.deltaOf('alpha')).changed[0]?.kill?.actor).toBe('alice');
    } finally {
      await other.dispose();
    }
  });
});

describe('the flag service without Redis', () => {
  let own: RedisProcess;
  let flags: RunningFlags;
  beforeEach(async () => {
    own = await startRedis();
    flags = new RunningFlags(own.url);
  });
  afterEach(async () => {
    await flags.dispose();
    await own.dispose();
  });

  it('starts, is not ready, and becomes so when Redis comes', async () => {
    await own.stop();
    await flags.start();
    expect(await flags.operations('/health/ready')).toMatchObject({ status: 503, text: expect.stringContaining('not read from Redis yet') });
    await expect(flags.client.listFlags({})).rejects.toMatchObject({ code: 14 });
    const linked = flags.link('gateway-1');
    await own.restart();
    await linked;
    expect((await flags.operations('/health/ready')).status).toBe(200);
  });

  it('keeps the last flags in force, stays ready, says that it is degraded, and refuses writes', async () => {
    await flags.start();
    const gateway = await flags.link('gateway-1');
    await own.stop();
    await expect(flags.client.setFlag({ name: 'alpha', definitionJson: '{}', ...who })).rejects.toMatchObject({ code: 14, details: expect.stringContaining('Redis') });
    await expect(flags.client.reviveFlag({ name: 'alpha', ...who })).rejects.toMatchObject({ code: 14 });
    expect((await flags.client.listFlags({})).snapshot?.flags).toHaveLength(2);
    let ready = await flags.operations('/health/ready');
    while (!ready.text.includes('"degraded":true')) ready = await flags.operations('/health/ready');
    expect(ready.status).toBe(200);
    expect(JSON.parse(ready.text).snapshotAgeMs).toBeGreaterThanOrEqual(0);
    await own.restart();
    while (!(await flags.operations('/health/ready')).text.includes('"degraded":false'));
    expect((await flags.client.killFlag({ name: 'alpha', ...who })).propagation?.acknowledged).toHaveLength(1);
    expect(gateway.error).toBeUndefined();
  });
});
