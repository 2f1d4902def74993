import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { sha256 } from './external-changes.ts';
import { flagStoreContract, type StoreUnderTest } from './flag-store.contract.ts';
import { flagStoreRecordsContract } from './flag-store-records.contract.ts';
import { ForeseenEntry } from './foreseen-entry.ts';
import { RedisFlagStore } from './redis-flag-store.ts';

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

function redisStore(prefix: string, now?: () => number): RedisFlagStore {
  const connect = () => createRedis(server.url, silentLogger, 'flags');
  return new RedisFlagStore({ redis: connect(), bulk: connect(), subscriber: connect(), prefix, logger: silentLogger, now });
}

async function create(): Promise<StoreUnderTest> {
  const other = createRedis(server.url, silentLogger, 'other-tool');
  await other.connect();
  const store = redisStore('test:');
  return {
    store,
    hset: async (name, text) => void (await other.hset('test:feature_flags', name, text)),
    hdel: async (name) => void (await other.hdel('test:feature_flags', name)),
    putByHand: async (kind, id, text) => void (text === undefined ? await other.hdel(`test:feature_flags:${kind}`, id) : await other.hset(`test:feature_flags:${kind}`, id, text)),
    empty: async () => void (await other.flushall()),
    dispose: async () => {
      await store.stop();
      await other.flushall();
      other.disconnect();
    },
  };
}

flagStoreContract('Redis', create);
flagStoreRecordsContract('Redis', create);

describe('the Redis flag store', () => {
  it('says that the store is unreachable, at once and for good, while there is no connection', async () => {
    const store = redisStore('');
    await expect(store.killFlag('a', { actor: '', reason: '', atMs: 0 })).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'STORE_UNREACHABLE' });
    await store.stop();
  });

  it('goes on writing when Redis\'s clock has gone ahead of this one, as after a sleep of the machine', async () => {
    let asleepMs = 0;
    const store = redisStore('asleep:', () => performance.now() - asleepMs);
    await started(store);
    const by = { actor: 'olga', reason: '', atMs: 17 };
    await store.killFlag('a', by, true);
    for (asleepMs of [3_600_000, 7_200_000]) expect((await store.setEmergency({ ...by, killSwitch: asleepMs === 3_600_000 })).outcome).toBe('written');
    expect((await store.reviveFlag('a', by)).outcome).toBe('written');
    await store.stop();
  });

  it('does not carry out later what it refused while Redis hung, also when Redis\'s clock was set back before', async () => {
    let aheadMs = 0;
    const store = redisStore('set-back:', () => performance.now() + aheadMs);
    const other = createRedis(server.url, silentLogger, 'other-tool', { commandTimeoutMs: 30_000 });
    await other.connect();
    await started(store);
    const known = await store.load({ revision: 0n, epoch: '' });
    aheadMs = 3_600_000;
    for (let looks = 0; looks < 3; looks++) expect(await store.check(known)).toBeDefined();
    await other.call('CLIENT', 'PAUSE', '1000');
    await expect(store.setFlag({ actor: '', reason: '', atMs: 17, name: 'a', text: '1', base: undefined })).rejects.toMatchObject({ reason: 'STORE_UNREACHABLE' });
    await other.ping();
    expect((await store.read(['a'])).flags.size).toBe(0);
    await store.stop();
    other.disconnect();
  });

  it('foresees the very entry of the audit trail that a kill makes', async () => {
    const store = redisStore('foreseen:');
    await started(store);
    const kill = { actor: 'olga "o" Öl', reason: 'see https://example.org/a\\b', atMs: 17 };
    const foreseen = new ForeseenEntry();
    foreseen.note(0n, { hash: '' });
    const after = sha256(JSON.stringify(kill));
    const expected = foreseen.next({ ...kill, action: 'kill', flag: 'a', after });
    await store.killFlag('a', kill, true);
    expect((await store.newestAudit(undefined, 10)).map(({ entry, hash }) => [entry, hash])).toEqual([expected]);
    await store.stop();
  });

  it('keeps the chain of the trail whole when another flag service writes between two kills', async () => {
    const [store, other] = [redisStore('shared:'), redisStore('shared:')];
    await started(store);
    await started(other);
    const by = { actor: 'olga', reason: '', atMs: 17 };
    await store.killFlag('a', by, true);
    await other.killFlag('b', by, true);
    await other.reviveFlag('b', by);
    await store.killFlag('c', by, true);
    const trail = (await store.newestAudit(undefined, 10)).reverse();
    expect(trail.map(({ hash }) => hash)).toEqual(trail.map(({ entry }) => sha256(entry)));
    expect(trail.map(({ entry }) => (JSON.parse(entry) as { previousHash: string }).previousHash)).toEqual(['', ...trail.slice(0, -1).map(({ hash }) => hash)]);
    await store.stop();
    await other.stop();
  });
});

/** Connected, and read once. */
async function started(store: RedisFlagStore): Promise<void> {
  let connections = 0;
  await new Promise<void>((resolve) => store.start({ onChange: () => undefined, onConnected: () => void (++connections === 2 && resolve()), onPeerMessage: () => undefined }));
  await store.load({ revision: 0n, epoch: '' });
}
