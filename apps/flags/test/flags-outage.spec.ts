import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { StoreDecision } from '@mlx-serving/contracts';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const who = { actor: 'alice', reason: 'it burns' };

describe('F14: the flag service without Redis', () => {
  let own: RedisProcess;
  let flags: RunningFlags;
  beforeEach(async () => {
    own = await startRedis();
    flags = await new RunningFlags(own.url, { MLX_SERVING_FLAGS_ACK_TIMEOUT_MS: '300' }).start();
  });
  afterEach(async () => {
    await flags.dispose();
    await own.dispose();
  });

  const state = () => flags.client.getStoreState({});
  const until = async (holds: () => Promise<boolean>): Promise<void> => {
    // What is read at once must let the work go on that it waits for.
    while (!(await holds())) await new Promise(setImmediate);
  };
  const journal = (): string => {
    const folder = join(flags.folder, 'state', 'journal');
    return readFileSync(join(folder, readdirSync(folder)[0]!), 'utf8');
  };
  const killOf = async (name: string) => (await flags.client.getFlag({ name })).flag?.kill;

  it('kills at once, says that it is not durable, journals it on disk, and writes it when Redis returns', async () => {
    const gateway = await flags.link('gateway-1');
    (await flags.link('gateway-deaf')).acknowledges = false;
    await own.stop();
    const { propagation } = await flags.client.killFlag({ name: 'alpha', actor: '', reason: '' });
    expect(propagation).toMatchObject({ durable: false, missing: ['gateway-deaf'] });
    expect(propagation?.acknowledged.map(({ replicaId }) => replicaId)).toEqual(['gateway-1']);
    expect((await gateway.deltaOf('alpha')).changed[0]?.kill).toBeDefined();
    expect(JSON.parse(journal())).toMatchObject({ flag: 'alpha' });
    await flags.client.killFlag({ name: 'alpha', actor: 'bob', reason: 'again' });
    expect(journal().trim().split('\n')).toHaveLength(1);
    expect((await state()).journalled).toEqual(['alpha']);
    await own.restart();
    await until(async () => (await state()).journalled.length === 0);
    await flags.redis.connect();
    expect(Object.keys(await flags.redis.hgetall('feature_flags:kills'))).toEqual(['alpha']);
    expect(await flags.client.verifyAudit({})).toMatchObject({ intact: true });
    await until(async () => journal() === '');
    expect((await flags.client.killFlag({ name: 'beta', ...who })).propagation?.durable).toBe(true);
    expect((await gateway.deltaOf('beta', gateway.deltas.length - 2)).changed[0]?.kill).toBeDefined();
  });

  it('turns the emergency on without Redis, and refuses to turn it off', async () => {
    const gateway = await flags.link('gateway-1');
    await own.stop();
    expect(await flags.client.setEmergency({ killSwitch: true, ...who })).toMatchObject({ emergency: { killSwitch: true }, propagation: { durable: false } });
    await gateway.until(() => gateway.deltas.some((delta) => delta.emergency?.killSwitch));
    await expect(flags.client.setEmergency({ killSwitch: false, ...who })).rejects.toMatchObject({ code: 14 });
    await own.restart();
    await until(async () => (await state()).journalled.length === 0);
    expect(await flags.client.setEmergency({ killSwitch: false, ...who })).toMatchObject({ emergency: { killSwitch: false }, propagation: { durable: true } });
  });

  it('turns one switch of the emergency on though the other is said to be off, as it is', async () => {
    await flags.link('gateway-1');
    await own.stop();
    expect(await flags.client.setEmergency({ killSwitch: true, rollbackToBaseline: false, ...who })).toMatchObject({ emergency: { killSwitch: true }, propagation: { durable: false } });
    await expect(flags.client.setEmergency({ killSwitch: false, rollbackToBaseline: true, ...who })).rejects.toMatchObject({ code: 14 });
  });

  it('starts from the disk while Redis is away, ready and degraded, with the kill that it had journalled', async () => {
    await flags.link('gateway-1');
    await flags.client.killFlag({ name: 'beta', ...who });
    await own.stop();
    await flags.client.killFlag({ name: 'alpha', ...who });
    await flags.stop();
    const [file] = readdirSync(join(flags.folder, 'state', 'journal'));
    appendFileSync(join(flags.folder, 'state', 'journal', file!), '{"flag":"cut o');
    await flags.start();
    const gateway = await flags.link('gateway-2');
    expect(gateway.snapshots[0]?.flags.map(({ name, kill }) => [name, kill?.actor])).toEqual([['alpha', 'alice'], ['beta', 'alice']]);
    const ready = await flags.operations('/health/ready');
    expect(ready.status).toBe(200);
    expect(JSON.parse(ready.text)).toMatchObject({ degraded: true, snapshotAgeMs: expect.any(Number), journalledKills: ['alpha'] });
    await own.restart();
    await until(async () => (await state()).journalled.length === 0);
    await flags.client.reviveFlag({ name: 'alpha', ...who });
    expect(await killOf('alpha')).toBeUndefined();
    expect(await killOf('beta')).toBeDefined();
  });

  it('does not take an emptied Redis for deleted flags: it refuses, reports, still kills, and reseeds it when told to', async () => {
    const gateway = await flags.link('gateway-1');
    await flags.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":true}', ...who });
    await flags.client.killFlag({ name: 'beta', ...who });
    await flags.redis.connect();
    await flags.redis.flushall();
    await until(async () => (await state()).lost);
    expect(await state()).toMatchObject({ lost: true, storeFlags: 0, knownFlags: 3 });
    expect(JSON.parse((await flags.operations('/health/ready')).text)).toMatchObject({ storeLost: true, degraded: true });
    expect((await flags.operations('/metrics')).text).toContain('mlx_serving_feature_flags_store_lost 1');
    await expect(flags.client.setFlag({ name: 'alpha', definitionJson: '{}', ...who })).rejects.toMatchObject({ code: 14, details: expect.stringContaining('operator') });
    expect((await flags.client.killFlag({ name: 'alpha', ...who })).propagation).toMatchObject({ durable: false, missing: [] });
    expect(gateway.deltas.flatMap(({ removed }) => removed)).toEqual([]);
    await flags.client.settleStore({ decision: StoreDecision.RESEED, ...who });
    expect(await state()).toMatchObject({ lost: false, problem: '' });
    expect(Object.keys(await flags.redis.hgetall('feature_flags')).sort()).toEqual(['alpha', 'beta', 'gamma']);
    expect(Object.keys(await flags.redis.hgetall('feature_flags:kills')).sort()).toEqual(['alpha', 'beta']);
    expect(await flags.client.verifyAudit({})).toMatchObject({ intact: true });
    await flags.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":false}', ...who });
    await expect(flags.client.settleStore({ decision: StoreDecision.ACCEPT, ...who })).rejects.toMatchObject({ code: 9 });
  });

  it('finds a Redis that was put back to an older state though somebody has written to it since, and loses no kill', async () => {
    await flags.link('gateway-1');
    await flags.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":true}', ...who });
    await flags.redis.connect();
    const backup = await backupOf(flags.redis);
    await flags.client.killFlag({ name: 'alpha', ...who });
    // A record is written and read again, with where the trail ends.
    await flags.client.setSegment({ name: 'staff', definitionJson: '{"includedKeys":["ada"]}', ...who });
    const known = (await flags.client.listFlags({})).snapshot?.revision ?? 0n;
    await flags.stop();
    await putBack(flags.redis, backup);
    const other = await new RunningFlags(own.url).start();
    try {
      await until(async () => (await other.client.getStoreState({})).problem === '');
      for (let revision = 0n; revision <= known; ) revision = (await other.client.setFlag({ name: 'gamma', definitionJson: `{"enabled":true,"note":${revision}}`, ...who })).propagation?.revision ?? 0n;
      expect((await other.client.getFlag({ name: 'alpha' })).flag?.kill).toBeUndefined();
      await flags.start();
      await until(async () => (await state()).lost);
      expect((await state()).problem).toContain('of which its audit trail knows nothing');
      expect((await killOf('alpha'))?.actor).toBe('alice');
      await flags.client.settleStore({ decision: StoreDecision.ACCEPT, ...who });
      await until(async () => (await other.client.getFlag({ name: 'alpha' })).flag?.kill !== undefined);
      expect(await flags.client.verifyAudit({})).toMatchObject({ intact: true });
    } finally {
      await other.dispose();
    }
  });

  it('does not let the file undo what operators did before the loss, once the store was reseeded (F13)', async () => {
    await flags.link('gateway-1');
    const share = async () => JSON.parse((await flags.client.getFlag({ name: 'beta' })).flag!.definitionJson).rolloutPercentage as number;
    await flags.client.setSegment({ name: 'staff', definitionJson: '{}', ...who });
    await flags.client.patchFlag({ name: 'beta', patchJson: '{"rolloutPercentage":7}', ...who });
    await flags.client.setEmergency({ killSwitch: true, ...who });
    await flags.client.setEmergency({ killSwitch: false, ...who });
    await flags.redis.connect();
    const applied = await flags.redis.hgetall('feature_flags:file');
    await flags.redis.flushall();
    await until(async () => (await state()).lost);
    // The service that knew what it had applied is gone; what it knew is on the disk.
    await flags.stop();
    await flags.start();
    await until(async () => (await state()).lost);
    await flags.client.settleStore({ decision: StoreDecision.RESEED, ...who });
    expect(await share()).toBe(7);
    await flags.app.reload();
    await flags.stop();
    await flags.start();
    await flags.link('gateway-2');
    await flags.app.reload();
    expect([await share(), await flags.redis.hgetall('feature_flags:file')]).toEqual([7, applied]);
    flags.writeFile('alpha: { enabled: true, rollout_percentage: 100, hash_seed: a }\nbeta: { enabled: true, rollout_percentage: 60, hash_seed: b, requires: [alpha] }\n');
    await flags.app.reload();
    expect(await share()).toBe(60);
  });

  it('takes over an emptied Redis when told to, and loses no kill', async () => {
    const gateway = await flags.link('gateway-1');
    await flags.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":true}', ...who });
    await flags.client.killFlag({ name: 'alpha', ...who });
    await flags.redis.connect();
    await flags.redis.flushall();
    await until(async () => (await state()).lost);
    await flags.client.settleStore({ decision: StoreDecision.ACCEPT, ...who });
    await gateway.until(() => gateway.deltas.some(({ removed }) => removed.includes('gamma')));
    await until(async () => (await flags.client.listFlags({})).snapshot?.flags.length === 2);
    expect((await killOf('alpha'))?.actor).toBe('alice');
    expect(await killOf('beta')).toBeUndefined();
  });
});

/** Everything in a Redis, as its own command writes it. */
async function backupOf(redis: Redis): Promise<ReadonlyMap<string, Buffer>> {
  const keys = await redis.keys('*');
  return new Map(await Promise.all(keys.map(async (key): Promise<[string, Buffer]> => [key, await redis.dumpBuffer(key)])));
}

async function putBack(redis: Redis, backup: ReadonlyMap<string, Buffer>): Promise<void> {
  await redis.flushall();
  for (const [key, value] of backup) await redis.restore(key, 0, value);
}

describe('F19: two flag services on one Redis', () => {
  let own: RedisProcess;
  let one: RunningFlags;
  let two: RunningFlags;
  beforeEach(async () => {
    own = await startRedis();
    one = await new RunningFlags(own.url, { MLX_SERVING_REPLICA_ID: 'one' }).start();
    two = await new RunningFlags(own.url, { MLX_SERVING_REPLICA_ID: 'two', MLX_SERVING_FLAGS_REVISION_CHECK_MS: '1000', MLX_SERVING_FLAGS_REFRESH_MS: '3600000' }).start();
  });
  afterEach(async () => {
    await two.dispose();
    await one.dispose();
    await own.dispose();
  });

  const ids = (proof: { acknowledged: { replicaId: string }[] } | undefined) => proof?.acknowledged.map(({ replicaId }) => replicaId).sort();

  it('prove a kill for the gateways of both, and name a deaf gateway of the other', async () => {
    const [, far] = [await one.link('gateway-near'), await two.link('gateway-far')];
    for (let proof = await one.client.killFlag({ name: 'alpha', ...who }); !ids(proof.propagation)?.includes('gateway-far'); ) {
      await one.client.reviveFlag({ name: 'alpha', ...who });
      proof = await one.client.killFlag({ name: 'alpha', ...who });
    }
    far.acknowledges = false;
    expect((await one.client.killFlag({ name: 'beta', ...who })).propagation).toMatchObject({ acknowledged: [{ replicaId: 'gateway-near' }], missing: ['gateway-far'] });
  });

  it('name the gateways of the other as not reached by a kill without Redis', async () => {
    await one.link('gateway-near');
    await two.link('gateway-far');
    while (!ids((await one.client.setEmergency({ killSwitch: false, rollbackToBaseline: false, ...who })).propagation)?.includes('gateway-far'));
    await own.stop();
    expect((await one.client.killFlag({ name: 'alpha', ...who })).propagation).toMatchObject({ durable: false, missing: ['gateway-far'], acknowledged: [{ replicaId: 'gateway-near' }] });
  });

  it('land a kill on the gateways of the other when its pub/sub connection is severed for good: it compares revisions', async () => {
    const far = await two.link('gateway-far');
    const tool = createRedis(own.url, silentLogger, 'scissors');
    await tool.connect();
    await tool.call('ACL', 'SETUSER', 'default', '-subscribe', '-psubscribe');
    await tool.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    const killed = one.client.killFlag({ name: 'alpha', ...who });
    await far.until(() => far.deltas.some((delta) => delta.changed.some((flag) => flag.name === 'alpha' && flag.kill)));
    expect(await tool.call('PUBSUB', 'NUMSUB', 'feature_flags:changes')).toEqual(['feature_flags:changes', 0]);
    await killed;
    tool.disconnect();
  });

  it('name the gateways of one that is gone, and its own that were linked before a restart, until they link again', async () => {
    await one.link('gateway-near');
    await two.link('gateway-far');
    while (!ids((await one.client.setEmergency({ killSwitch: false, rollbackToBaseline: false, ...who })).propagation)?.includes('gateway-far'));
    await two.stop();
    let proof = await one.client.killFlag({ name: 'alpha', ...who });
    while (proof.propagation?.acknowledged.length !== 1) proof = await one.client.killFlag({ name: 'alpha', ...who });
    expect(proof.propagation).toMatchObject({ acknowledged: [{ replicaId: 'gateway-near' }], missing: ['gateway-far'], durable: true });
    await one.stop();
    await one.start();
    while (!(await one.operations('/health/ready')).text.includes('"degraded":false'));
    expect((await one.client.killFlag({ name: 'alpha', ...who })).propagation).toMatchObject({ acknowledged: [], missing: ['gateway-far', 'gateway-near'] });
    await one.link('gateway-far');
    expect((await one.client.killFlag({ name: 'alpha', ...who })).propagation).toMatchObject({ acknowledged: [{ replicaId: 'gateway-far' }], missing: ['gateway-near'] });
    await two.start();
  });

  it('refuse an emptied Redis both, and both hold what one of them writes to it again, kills too', async () => {
    const far = await two.link('gateway-far');
    await one.link('gateway-near');
    await one.client.setFlag({ name: 'gamma', definitionJson: '{"enabled":true}', ...who });
    await one.client.killFlag({ name: 'alpha', ...who });
    await far.deltaOf('gamma');
    await one.redis.connect();
    await one.redis.flushall();
    const lost = async () => Promise.all([one, two].map(async ({ client }) => (await client.getStoreState({})).lost));
    while (!(await lost()).every((is) => is));
    await one.client.settleStore({ decision: StoreDecision.RESEED, ...who });
    while ((await lost()).some((is) => is));
    for (const { client } of [one, two]) {
      const flags = (await client.listFlags({})).snapshot?.flags ?? [];
      expect(flags.map(({ name, kill }) => [name, kill?.actor])).toEqual([['alpha', 'alice'], ['beta', undefined], ['gamma', undefined]]);
    }
    expect(far.deltas.flatMap(({ removed }) => removed)).toEqual([]);
    await two.client.patchFlag({ name: 'gamma', patchJson: '{"rolloutPercentage":7}', ...who });
    expect(await two.client.verifyAudit({})).toMatchObject({ intact: true });
  });
});
