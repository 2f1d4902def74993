import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { type ApiKey, type ApiKeyUsage, type FlagsLinkResponse } from '@mlx-serving/contracts';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RedisSpending } from './redis-spending.ts';
import { SpendingService } from './spending-service.ts';

const NOW = Date.UTC(2025, 0, 8);
const key = { id: 'k', requestsPerMinute: 60, tokensPerMinute: 600n };

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('what keys spend', () => {
  let redis: Redis;
  let spending: RedisSpending;
  beforeEach(async () => {
    redis = createRedis(server.url, silentLogger, 'spending', { commandTimeoutMs: 30_000 });
    await redis.connect();
    spending = new RedisSpending(redis, 'test:');
  });
  afterEach(async () => {
    await redis.flushall();
    redis.disconnect();
  });

  const batch = (number: bigint, { gateway = 'one', epoch = 'first' } = {}) => ({ gateway, epoch, number });
  const charge = async (id: ReturnType<typeof batch>, tokens = 100) => (await spending.charge(key, { requests: 1, tokens }, id, NOW)).tokensToday;

  it('is charged once for each batch, however often and late that is sent', async () => {
    expect([await charge(batch(1n)), await charge(batch(1n)), await charge(batch(2n)), await charge(batch(1n))]).toEqual([100, 100, 200, 200]);
    expect(await spending.charge(key, { requests: 0, tokens: 0 }, undefined, NOW)).toMatchObject({ requestsLeft: 58, tokensLeft: 400, tokensThisMonth: 200 });
    expect(await redis.ttl('test:feature_flags:api-key-batches:one')).toBeGreaterThan(3_600);
  });

  it('is charged for the same number of another gateway, and of a gateway that has started anew', async () => {
    expect([await charge(batch(7n)), await charge(batch(7n, { gateway: 'two' })), await charge(batch(1n, { epoch: 'second' }))]).toEqual([100, 200, 300]);
  });

  it('is charged once when a batch is written in part, and sent again as a whole', async () => {
    const answered: FlagsLinkResponse[] = [];
    let failing = 'k3';
    const service = new SpendingService({
      store: { charge: (charged, spent, id) => (charged.id === failing ? Promise.reject(new Error('redis is not there')) : spending.charge(charged, spent, id, NOW)) },
      keys: { get: (id) => ({ ...key, id }) as ApiKey },
      replicas: { broadcast: (message: FlagsLinkResponse) => void answered.push(message), ids: ['one'] },
      peers: { gatewaysElsewhere: () => [] },
      logger: silentLogger,
    });
    const usage = { batch: 1n, epoch: 'first', spending: ['k1', 'k2', 'k3', 'k4'].map((keyId) => ({ keyId, requests: 1n, tokens: 50n })) } as ApiKeyUsage;
    await service.take('one', usage);
    expect(answered).toEqual([]);
    failing = '';
    await service.take('one', usage);
    expect(answered.map(({ message }) => (message.case === 'apiKeyBalances' ? message.value.balances.map(({ tokensToday }) => tokensToday) : []))).toEqual([[50n, 50n, 50n, 50n]]);
  });
});
