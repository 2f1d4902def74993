import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const NAMES = ['one', 'two', 'three', 'four'];
const who = { actor: 'alice', reason: 'moving house' };

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('an import', () => {
  let flags: RunningFlags;

  beforeEach(async () => {
    // Longer than any test, so that a wait for each change by itself would never end.
    flags = await new RunningFlags(server.url, { MLX_SERVING_FLAGS_ACK_TIMEOUT_MS: '3600000' }).start();
    await flags.redis.connect();
  });
  afterEach(() => flags.dispose());

  it('waits for the gateways once, after its last change', async () => {
    const gateway = await flags.link('gateway-1');
    gateway.acknowledges = false;
    const documentJson = JSON.stringify({ segments: { staff: { included: ['u1'] } }, flags: Object.fromEntries(NAMES.map((name) => [name, { enabled: true }])) });
    const importing = flags.client.importFlags({ documentJson, ...who });
    const { revision } = await gateway.deltaOf('four');
    gateway.send({ case: 'acknowledgement', value: { revision } });
    const { results } = await importing;
    expect(results.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual(['segment:staff created', ...NAMES.map((name) => `${name} created`)]);
  });
});
