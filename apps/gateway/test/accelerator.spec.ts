import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createServiceClient, Inference, type ServiceClient, type TtftStatsResponse } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeWorker } from '@mlx-serving/testing';
import { Harness } from './gateway-harness.ts';

const second = new FakeWorker({ script: ['b'] });
const gateway = new Harness({ worker: new FakeWorker({ script: ['a'] }), moreWorkers: [second] });
let client: ServiceClient<typeof Inference>;

beforeAll(async () => {
  await gateway.start();
  client = createServiceClient(Inference, `127.0.0.1:${gateway.app.ports.grpc}`);
});
afterAll(async () => {
  client.close();
  await gateway.stop();
});

/** The first statistics for which `holds` is true. */
async function statsWith(holds: (stats: TtftStatsResponse) => boolean): Promise<TtftStatsResponse> {
  const call = client.ttftStats({ intervalMs: 100 });
  for await (const stats of call as AsyncIterable<TtftStatsResponse>) if (holds(stats)) return stats;
  throw new Error('The statistics ended.');
}

describe('the accelerator behind the gRPC door', () => {
  it('is the sum of all workers, and goes on when one goes', async () => {
    const both = await statsWith(({ workers }) => workers === 2);
    expect(both).toMatchObject({ enabled: true, warmQueue: { size: 2, maxSize: 200, queued: 16n, warmed: 12n }, speculation: { hits: 6n, misses: 2n } });
    await second.kill();
    expect(await statsWith(({ workers }) => workers === 1)).toMatchObject({ enabled: true, warmQueue: { size: 1 } });
    await second.start();
    await statsWith(({ workers }) => workers === 2);
  });

  it('puts a prompt on the allowlist of every worker', async () => {
    expect(await client.addToAllowlist({ input: { case: 'prompt', value: 'Hello' } })).toMatchObject({ workers: 2 });
    expect([gateway.worker.allowed, second.allowed]).toEqual([['Hello'], ['Hello']]);
    const error: unknown = await client.addToAllowlist({}).catch((thrown: unknown) => thrown);
    expect(ServiceError.from(error)).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('hands the hint of a request on to its worker', async () => {
    const call = client.generate({ input: { case: 'prompt', value: 'x' }, ttftHint: { allowSpeculation: true, estimatedTokens: 3 } });
    for await (const message of call) void message;
    const { request } = (gateway.worker.generations.at(-1) ?? second.generations.at(-1)) as FakeWorker['generations'][number];
    expect(request.ttftHint).toMatchObject({ allowSpeculation: true, estimatedTokens: 3 });
  });
});
