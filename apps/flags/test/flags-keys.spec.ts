import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type ApiKey, type ApiKeyBalances, Priority } from '@mlx-serving/contracts';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import type { FakeGateway } from './fake-gateway.ts';
import { RunningFlags } from './running-flags.ts';

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

const keysOf = (gateway: FakeGateway): readonly ApiKey[] => gateway.received.flatMap(({ message }) => (message.case === 'apiKeys' ? [message.value] : [])).at(-1)?.keys ?? [];
const balancesOf = (gateway: FakeGateway, batch: bigint): ApiKeyBalances | undefined =>
  gateway.received.flatMap(({ message }) => (message.case === 'apiKeyBalances' && message.value.batch === batch ? [message.value] : [])).at(-1);

describe('API keys', () => {
  let flags: RunningFlags;
  beforeEach(async () => {
    flags = await new RunningFlags(server.url).start();
    await flags.redis.connect();
  });
  afterEach(() => flags.dispose());

  const make = (limits: object = {}) => flags.client.createApiKey({ key: { name: 'search', priority: Priority.BATCH, ...limits }, actor: 'alice' });

  it('reach every gateway with their hash, and never anybody with their secret', async () => {
    const gateway = await flags.link('gateway-1');
    const { key, secret } = await make({ requestsPerMinute: 5 });
    await gateway.until(() => keysOf(gateway).length === 1);
    expect(keysOf(gateway)[0]).toMatchObject({ id: key!.id, name: 'search', tenant: 'search', priority: Priority.BATCH, requestsPerMinute: 5, createdBy: 'alice', secretHash: createHash('sha256').update(secret).digest('hex') });
    const stored = await flags.redis.hgetall('feature_flags:api-keys');
    const audit = JSON.stringify((await flags.client.listAudit({ limit: 10 })).entries, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
    for (const text of [JSON.stringify(stored), audit]) expect(text).not.toContain(secret);
    expect(audit).toContain('api-keys.set');
    const late = await flags.link('gateway-2');
    await late.until(() => keysOf(late).length === 1);
  });

  it('are gone from every gateway once they are revoked', async () => {
    const gateway = await flags.link('gateway-1');
    const { key } = await make();
    await gateway.until(() => keysOf(gateway).length === 1);
    await flags.client.revokeApiKey({ id: key!.id, actor: 'bob' });
    await gateway.until(() => keysOf(gateway).length === 0);
    expect((await flags.client.listApiKeys({})).keys).toEqual([]);
    await expect(flags.client.revokeApiKey({ id: key!.id, actor: 'bob' })).rejects.toMatchObject({ details: expect.stringContaining('no such') });
  });

  it.each([[{ name: 'no spaces' }], [{ requestsPerMinute: 2_000_000 }], [{ tenant: '/' }]])('are refused with %j', async (limits) => {
    await expect(make(limits)).rejects.toMatchObject({ code: 3 });
  });

  it('share their limits between the gateways: what one spends, the other is told', async () => {
    const [one, two] = await Promise.all([flags.link('gateway-1'), flags.link('gateway-2')]);
    const { key } = await make({ requestsPerMinute: 60, tokensPerMinute: 600n });
    await one.until(() => keysOf(one).length === 1);
    one.send({ case: 'apiKeyUsage', value: { batch: 1n, spending: [{ keyId: key!.id, requests: 10n, tokens: 900n }] } });
    const told = await two.until(() => balancesOf(two, 1n));
    expect(told).toMatchObject({ replicaId: 'gateway-1', gateways: 2 });
    const [first] = told.balances;
    expect([Math.round(first!.requestsLeft), Math.round(first!.tokensLeft / 10), first!.tokensToday, first!.tokensThisMonth]).toEqual([50, -30, 900n, 900n]);
    two.send({ case: 'apiKeyUsage', value: { batch: 2n, spending: [{ keyId: key!.id, requests: 5n, tokens: 0n }] } });
    const both = await one.until(() => balancesOf(one, 2n));
    expect(Math.round(both.balances[0]!.requestsLeft)).toBe(45);
    expect((await flags.client.listApiKeys({})).keys[0]?.balance).toMatchObject({ tokensToday: 900n });
  });
});
