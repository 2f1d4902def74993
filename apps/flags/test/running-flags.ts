import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { createServiceClient, Flags, type ServiceClient } from '@mlx-serving/contracts';
import { createRedis, readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { createApp, environment, type FlagsApp } from '../src/index.ts';
import { FakeGateway } from './fake-gateway.ts';

export const FILE = `
alpha: { enabled: true, rollout_percentage: 100, hash_seed: a }
beta: { enabled: true, rollout_percentage: 50, hash_seed: b, requires: [alpha] }
`;

/** A flag service that really runs, on a Redis and a file of the test. */
export class RunningFlags {
  readonly folder = mkdtempSync(join(tmpdir(), 'flags-'));
  readonly redis: Redis;
  readonly #redisUrl: string;
  readonly #settings: Record<string, string>;
  readonly #gateways: FakeGateway[] = [];
  #starting: Promise<unknown> = Promise.resolve();
  #running = false;
  #disposed = false;
  app!: FlagsApp;
  client!: ServiceClient<typeof Flags>;

  constructor(redisUrl: string, settings: Record<string, string> = {}) {
    this.#redisUrl = redisUrl;
    this.#settings = settings;
    // A test says nothing of how fast a busy machine's Redis answers.
    this.redis = createRedis(redisUrl, silentLogger, 'other-tool', { commandTimeoutMs: 30_000 });
    this.writeFile(FILE);
  }

  get address(): string {
    return `127.0.0.1:${this.app.ports.grpc}`;
  }

  writeFile(text: string): void {
    writeFileSync(join(this.folder, 'feature-flags.yaml'), text);
  }

  async start(): Promise<this> {
    const values = readEnvironment(environment, {
      MLX_SERVING_FLAGS_GRPC_PORT: '0',
      MLX_SERVING_FLAGS_OPERATIONS_PORT: '0',
      MLX_SERVING_CONFIG_DIR: this.folder,
      MLX_SERVING_STATE_DIR: join(this.folder, 'state'),
      MLX_SERVING_FLAGS_REFRESH_MS: '100',
      MLX_SERVING_FLAGS_REVISION_CHECK_MS: '50',
      REDIS_URL: this.#redisUrl,
      ...this.#settings,
    });
    if (this.#disposed) throw new Error('The test is over.');
    this.app = createApp(values, silentLogger);
    this.#starting = this.app.start();
    await this.#starting;
    this.client = createServiceClient(Flags, this.address);
    this.#running = true;
    return this;
  }

  /** Links a gateway and waits until it has the flags of the file. */
  async link(replicaId: string): Promise<FakeGateway> {
    const gateway = new FakeGateway(this.address, replicaId);
    this.#gateways.push(gateway);
    await gateway.until(() => [...gateway.snapshots, ...gateway.deltas].some((message) => ('flags' in message ? message.flags : message.changed).some(({ name }) => name === 'beta')));
    return gateway;
  }

  async operations(path: string): Promise<{ status: number; text: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.app.ports.operations}${path}`);
    return { status: answer.status, text: await answer.text() };
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.client.close();
    await this.app.stop();
  }

  /** Closes all of it wherever the test has got to: one that ran out of time starts nothing afterwards. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#gateways.forEach((gateway) => gateway.close());
    await this.#starting.catch(() => undefined);
    try {
      if (this.#running) await this.stop();
      await this.redis.flushall().catch(() => undefined);
    } finally {
      this.redis.disconnect();
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}
