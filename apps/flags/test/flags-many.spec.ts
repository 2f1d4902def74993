import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const FLAGS = 2_500;
/** Only the names differ: Lua would take long over many such texts. Together they are more than gRPC takes by default. */
const definition = (index: number): string => JSON.stringify({ enabled: true, rolloutPercentage: 50, hashSeed: `seed-${index}`, note: 'n'.repeat(2_000) });

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

it('thousands of flags that another tool writes at once reach the gateways that are linked and those that link later, and a kill is durable all the same', async () => {
  const flags = await new RunningFlags(server.url).start();
  const tool = createRedis(server.url, silentLogger, 'other-tool', { commandTimeoutMs: 20_000 });
  try {
    const gateway = await flags.link('gateway-1');
    await tool.connect();
    await tool.hset('feature_flags', Object.fromEntries(Array.from({ length: FLAGS }, (_, index) => [`many_${index}`, definition(index)])));
    const last = `many_${FLAGS - 1}`;
    await gateway.until(() => [...gateway.deltas, ...gateway.snapshots].some((message) => ('flags' in message ? message.flags : message.changed).some(({ name }) => name === last)));
    const late = await flags.link('gateway-2');
    await late.until(() => late.snapshots[0]?.flags.length === FLAGS + 2);
    // A machine that is busy with all this may let one command run out of its time.
    let durable = false;
    while (!durable) durable = (await flags.client.killFlag({ name: last, actor: 'alice', reason: '' })).propagation?.durable === true;
    expect(await tool.hexists('feature_flags:kills', last)).toBe(1);
    expect([gateway.error, late.error]).toEqual([undefined, undefined]);
    // So may one of those that read the trail.
    const verify = () => flags.client.verifyAudit({}, { deadlineMs: 20_000 }).catch(() => undefined);
    let verified = await verify();
    while (verified === undefined) verified = await verify();
    expect(verified).toMatchObject({ intact: true, problems: [] });
  } finally {
    tool.disconnect();
    await flags.dispose();
  }
});
