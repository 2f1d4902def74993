import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { sha256 } from './external-changes.ts';
import { flagStoreContract } from './flag-store.contract.ts';
import { ForeseenEntry } from './foreseen-entry.ts';
import { RedisFlagStore } from './redis-flag-store.ts';

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

function redisStore(prefix: string): RedisFlagStore {
  const connect = () => createRedis(server.url, silentLogger, 'flags');
  return new RedisFlagStore({ redis: connect(), bulk: connect(), subscriber: connect(), prefix, logger: silentLogger });
}

flagStoreContract('Redis', async () => {
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
});

describe('the Redis flag store', () => {
  it('says that the store is unreachable, at once and for good, while there is no connection', async () => {
    const store = redisStore('');
    await expect(store.killFlag('a', { actor: '', reason: '', atMs: 0 })).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'STORE_UNREACHABLE' });
    await store.stop();
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
  await new Promise<void>((resolve) => store.start({ onChange: () => undefined, onConnected: resolve, onPeerMessage: () => undefined }));
  await store.load({ revision: 0n, epoch: '' });
}
