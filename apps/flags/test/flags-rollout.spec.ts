import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Qos, RolloutAction, StreamOutcome } from '@mlx-serving/contracts';
import { GrpcServer, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import type { FakeGateway } from './fake-gateway.ts';
import { RunningFlags } from './running-flags.ts';

const who = { actor: 'alice', reason: 'a test' };
const HOUR_MS = 3_600_000n;
/** As a gateway names a key. */
const hashOf = (index: number): string => (index * 2_654_435_761).toString(16).padStart(16, '0').slice(-16);

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('F24: a rollout in stages', () => {
  const qos = new GrpcServer(silentLogger);
  let errorRate = 0;
  let flags: RunningFlags;
  let gateway: FakeGateway;
  let address: string;
  beforeAll(async () => {
    const none = () => Promise.reject(new Error('not asked for'));
    const others = Object.fromEntries(Qos.methods.map(({ localName }) => [localName, none]));
    qos.add(Qos, { ...others, getState: async () => ({ window: { requests: 100n, errorRate } }) } as never);
    address = `127.0.0.1:${await qos.start('127.0.0.1', 0)}`;
  });
  afterAll(() => qos.stop(0));
  beforeEach(async () => {
    errorRate = 0;
    flags = await new RunningFlags(server.url, { MLX_SERVING_FLAGS_ROLLOUT_TICK_MS: '20', MLX_SERVING_QOS_ADDRESS: address }).start();
    await flags.redis.connect();
    gateway = await flags.link('gateway-1');
    await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":0,"blacklist":["user_1"]}', ...who });
  });
  afterEach(() => flags.dispose());

  const percentage = async (): Promise<number> => JSON.parse((await flags.client.getFlag({ name: 'beta' })).flag!.definitionJson).rolloutPercentage as number;
  const rollout = async () => (await flags.client.listRollouts({})).rollouts[0];
  const start = (...stages: [number, bigint][]) => flags.client.startRollout({ flag: 'beta', stages: stages.map(([share, waitMs]) => ({ percentage: share, waitMs })), ...who });

  it('goes on after a restart where it was, and a second flag service does not act beside it', async () => {
    await start([1, HOUR_MS], [10, 0n]);
    while ((await percentage()) !== 1);
    await flags.stop();
    const other = await new RunningFlags(server.url, { MLX_SERVING_FLAGS_ROLLOUT_TICK_MS: '20', MLX_SERVING_REPLICA_ID: 'other' }).start();
    await flags.start();
    await flags.link('gateway-2');
    expect(await rollout()).toMatchObject({ state: 'running', stage: 0 });
    const text = (await flags.redis.hget('feature_flags:rollouts', 'beta'))!;
    await flags.redis.hset('feature_flags:rollouts', 'beta', JSON.stringify({ ...(JSON.parse(text) as object), nextAtMs: 0 }));
    while ((await percentage()) !== 10);
    const { entries } = await flags.client.listAudit({ flag: 'beta', action: 'rollout' });
    expect(entries).toHaveLength(2);
    await other.dispose();
  });

  it('goes back to where it began when too many requests fail, and stays there', async () => {
    await start([1, 0n], [10, HOUR_MS]);
    while ((await percentage()) !== 10);
    errorRate = 0.3;
    while ((await rollout())?.state !== 'stopped');
    expect(await percentage()).toBe(0);
    expect((await rollout())?.note).toContain('30.0 % of 100 requests failed');
  });

  it.each([['fails more often', true], ['', false]])('is guarded by the canary analysis: it stops when what runs with the flag "%s": %p', async (words, harmful) => {
    await start([1, 0n], [20, HOUR_MS]);
    while ((await percentage()) !== 20);
    await gateway.until(() => gateway.received.some(({ message }) => message.case === 'watchedFlags' && message.value.flags.includes('beta')));
    const report = (index: number) => {
      const on = index % 5 === 0;
      const failed = on && harmful && index % 2 === 0;
      const decision = { flagReasons: { beta: on ? 'ROLLED_OUT' : 'NOT_ROLLED_OUT' } };
      return { decision, flagKeyHash: hashOf(index), outcome: failed ? StreamOutcome.FAILED : StreamOutcome.OK, durationMs: 10 + (index % 7) };
    };
    for (let sent = 0; sent < 2_000 && (await rollout())?.state === 'running'; sent += 50) gateway.send({ case: 'watchedReports', value: { reports: Array.from({ length: 50 }, (_, index) => report(sent + index)) } });
    if (harmful) while ((await rollout())?.state !== 'stopped');
    expect([(await rollout())?.state, await percentage()]).toEqual(harmful ? ['stopped', 0] : ['running', 20]);
    expect((await rollout())?.note).toContain(words);
  });

  it('stops when somebody else changes the percentage', async () => {
    await start([1, HOUR_MS], [10, 0n]);
    while ((await percentage()) !== 1);
    await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":33}', ...who });
    while ((await rollout())?.state !== 'stopped');
    expect(await percentage()).toBe(33);
  });

  it('raises nothing when it is aborted after somebody has lowered the percentage below where it began', async () => {
    await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":5}', ...who });
    await start([10, HOUR_MS], [20, 0n]);
    while ((await percentage()) !== 10);
    await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":1}', ...who });
    while ((await rollout())?.state !== 'stopped');
    await flags.client.controlRollout({ flag: 'beta', action: RolloutAction.ABORT, ...who });
    expect([(await rollout())?.state, await percentage()]).toEqual(['aborted', 1]);
  });

  it('holds up no other rollout when some cannot go on', async () => {
    // Redis keeps no order among them, so that one alone might come last.
    const broken = ['one', 'two', 'three', 'four', 'five'];
    for (const name of broken) {
      await flags.client.setFlag({ name, definitionJson: '{"enabled":true,"rolloutPercentage":0}', ...who });
      await flags.redis.hset('feature_flags', name, '{"enabled":true,"rolloutPercentage":0,"requires":["nobody"]}');
      while (!(await flags.client.getFlag({ name })).flag!.definitionJson.includes('nobody'));
      await flags.client.startRollout({ flag: name, stages: [{ percentage: 1, waitMs: HOUR_MS }], ...who });
    }
    await start([1, HOUR_MS]);
    while ((await percentage()) !== 1);
    const states = (await flags.client.listRollouts({})).rollouts.filter(({ flag }) => broken.includes(flag)).map(({ state }) => state);
    expect(states).toEqual(broken.map(() => 'running'));
  });

  it('refuses a flag that is killed or not enabled, and stages that do not rise', async () => {
    await expect(start([10, 0n], [5, 0n])).rejects.toMatchObject({ code: 3 });
    await flags.client.killFlag({ name: 'beta', ...who });
    await expect(start([1, 0n])).rejects.toMatchObject({ code: 3, details: expect.stringContaining('killed') });
  });
});

describe('F26: observability of the file', () => {
  it('names the metrics of flags by metric_prefix, and shows none when export_metrics is false', async () => {
    const flags = await new RunningFlags(server.url).start();
    await flags.link('gateway-1');
    flags.writeFile('alpha: { enabled: true, hash_seed: a }\nbeta: { enabled: true, hash_seed: b }\nobservability: { metric_prefix: my_flags }\n');
    await flags.app.reload();
    const { text } = await flags.operations('/metrics');
    expect(text).toContain('my_flags_rollout_percentage{feature="alpha"} 100');
    expect(text).toContain('# TYPE my_flags_rollout_percentage gauge');
    expect(text).not.toContain('mlx_serving_feature_flags');
    flags.writeFile('alpha: { enabled: true, hash_seed: a }\nbeta: { enabled: true, hash_seed: b }\nobservability: { export_metrics: false }\n');
    await flags.app.reload();
    expect((await flags.operations('/metrics')).text).not.toContain('rollout_percentage');
    await flags.dispose();
  });
});
