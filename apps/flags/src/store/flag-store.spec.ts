import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { flagStoreContract } from './flag-store.contract.ts';
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
});
