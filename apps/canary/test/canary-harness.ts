import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StreamOutcome } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { type CanaryApp, createApp } from '../src/app.ts';
import { environment } from '../src/config.ts';
import { FakeGateway } from './fake-gateway.ts';
import { until } from './until.ts';

const shipped = fileURLToPath(new URL('../../../config/canary.yaml', import.meta.url));

export interface TrafficOptions {
  readonly requests: number;
  /** Of the canary. Default: 0. */
  readonly failing?: number;
  /** How many times slower the canary is. Default: 1. */
  readonly slowdown?: number;
}

/** The service as a process runs it, on a Redis of its own, with gateways that the test drives. */
export class CanaryHarness {
  readonly redis: RedisProcess;
  readonly directory: string;
  #text: string;
  #sent = 0;
  #apps: CanaryApp[] = [];
  #gateways: FakeGateway[] = [];

  private constructor(redis: RedisProcess, directory: string, text: string) {
    this.redis = redis;
    this.directory = directory;
    this.#text = text;
  }

  static async create(percentage: number): Promise<CanaryHarness> {
    const directory = await mkdtemp(join(tmpdir(), 'canary-'));
    const text = (await readFile(shipped, 'utf8')).replace('intervalMs: 5000', 'intervalMs: 100').replace('hashKey: user_id', 'hashKey: request_id').replace('rolloutPercentage: 1', `rolloutPercentage: ${percentage}`);
    const harness = new CanaryHarness(await startRedis(), directory, text);
    await harness.edit((same) => same);
    return harness;
  }

  async edit(change: (text: string) => string): Promise<void> {
    this.#text = change(this.#text);
    await writeFile(join(this.directory, 'canary.yaml'), this.#text);
  }

  async start(variables: Record<string, string> = {}): Promise<CanaryApp> {
    const values = {
      MLX_SERVING_CANARY_GRPC_PORT: '0',
      MLX_SERVING_CANARY_OPERATIONS_PORT: '0',
      MLX_SERVING_CONFIG_DIR: this.directory,
      MLX_SERVING_CANARY_WORKERS: '127.0.0.1:9',
      MLX_SERVING_REPLICA_ID: 'canary-1',
      REDIS_URL: this.redis.url,
      ...variables,
    };
    const app = await createApp(readEnvironment(environment, values), silentLogger);
    this.#apps.push(app);
    await app.start();
    return app;
  }

  link(app: CanaryApp, replicaId = 'gateway-1'): FakeGateway {
    const gateway = new FakeGateway(app.ports.grpc, replicaId);
    this.#gateways.push(gateway);
    return gateway;
  }

  /** Sends what a gateway would report of so many requests, split by the table that it holds. */
  async traffic(gateway: FakeGateway, { requests, failing = 0, slowdown = 1 }: TrafficOptions): Promise<void> {
    const table = await until('a table', () => gateway.tables.at(-1));
    for (let done = 0; done < requests; done += 50) {
      gateway.report(Array.from({ length: Math.min(50, requests - done) }, () => this.#report(table.rolloutPercentage, table.revision, failing, slowdown)));
    }
  }

  async metrics(app: CanaryApp): Promise<string> {
    return (await fetch(`http://127.0.0.1:${app.ports.operations}/metrics`)).text();
  }

  async stop(): Promise<void> {
    for (const gateway of this.#gateways) gateway.close();
    for (const app of this.#apps) await app.stop();
    await this.redis.dispose();
    await rm(this.directory, { recursive: true });
  }

  #report(percentage: number, routingRevision: bigint, failing: number, slowdown: number) {
    // Multiples of irrational numbers fall evenly, so a test sees the same traffic each time.
    this.#sent++;
    const at = (factor: number): number => (this.#sent * factor) % 1;
    const canary = at(0.6180339887) * 100 < percentage;
    const failed = canary && at(0.7320508076) < failing;
    return {
      decision: { requestId: `r${this.#sent}`, variant: canary ? 'canary' : 'baseline', variantReason: canary ? 'IN_CANARY_SHARE' : 'OUTSIDE_CANARY_SHARE', routingRevision },
      gatewayId: 'gateway-1',
      workerId: canary ? 'canary-worker' : 'worker',
      outcome: failed ? StreamOutcome.FAILED : StreamOutcome.OK,
      durationMs: (100 + 400 * at(0.4142135624)) * (canary ? slowdown : 1),
      ttftMs: 50,
      usage: { promptTokens: 5, completionTokens: 20 },
    };
  }
}
