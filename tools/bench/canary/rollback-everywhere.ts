import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { createApp, environment } from '@mlx-serving/canary';
import { Canary, CanaryLinkRequestSchema, type CanaryLinkResponse, createServiceClient } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { startRedis, until } from '@mlx-serving/testing';
import { quantile } from '../statistics.ts';
import type { BenchCase } from '../suite.ts';

const GATEWAYS = 4;
const ROUNDS = 200;
const SHIPPED = fileURLToPath(new URL('../../../config/canary.yaml', import.meta.url));

/** From the call that rolls back to the table with 0 % on the last of four gateways, with a real Redis. */
export const rollbackEverywhere: BenchCase = {
  name: `a rollback on all of ${GATEWAYS} gateways, P99 of ${ROUNDS}`,
  unit: 'ms',
  ours: async () => quantile(await rollbackTimes(), 0.99),
  goal: { of: 'value', most: 250 },
};

async function rollbackTimes(): Promise<number[]> {
  const redis = await startRedis();
  const directory = await mkdtemp(join(tmpdir(), 'canary-bench-'));
  await writeFile(join(directory, 'canary.yaml'), await readFile(SHIPPED, 'utf8'));
  const values = { MLX_SERVING_CANARY_GRPC_PORT: '0', MLX_SERVING_CANARY_OPERATIONS_PORT: '0', MLX_SERVING_CONFIG_DIR: directory, MLX_SERVING_CANARY_WORKERS: '127.0.0.1:9', REDIS_URL: redis.url };
  const app = await createApp(readEnvironment(environment, values), silentLogger);
  await app.start();
  const client = createServiceClient(Canary, `127.0.0.1:${app.ports.grpc}`);
  const shares = new Array<number>(GATEWAYS).fill(-1);
  const links = shares.map((_, index) => linkOf(client, index, (share) => (shares[index] = share)));
  const all = (share: number): Promise<void> => until(() => shares.every((each) => each === share));
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await client.control({ action: { case: 'deploy', value: { percentage: 10 + (round % 2) } }, force: true });
    await all(10 + (round % 2));
    const began = performance.now();
    const done = client.control({ action: { case: 'rollback', value: {} } });
    while (!shares.every((share) => share === 0)) await new Promise((resolve) => setImmediate(resolve));
    times.push(performance.now() - began);
    await done;
  }
  for (const link of links) link.cancel();
  client.close();
  await app.stop();
  await redis.dispose();
  await rm(directory, { recursive: true });
  return times;
}

function linkOf(client: ReturnType<typeof createServiceClient<typeof Canary>>, index: number, onShare: (share: number) => void) {
  const link = client.link();
  link.on('error', () => undefined);
  link.on('data', ({ message }: CanaryLinkResponse) => {
    if (message.case === 'routingTable') onShare(message.value.rolloutPercentage);
  });
  link.write(create(CanaryLinkRequestSchema, { message: { case: 'hello', value: { replicaId: `gateway-${index}`, routingRevision: 0n } } }));
  return link;
}
