import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis } from '@mlx-serving/testing';
import { serviceEnvironment } from '../../start/services.ts';
import { portsFor } from '../../start/ports.ts';
import { root, type Running, startProcess } from './processes.ts';

const PORT_OFFSET = 6_000;
/** Of the second gateway, which admits one request at a time. */
const NARROW_OFFSET = 6_500;
/** Of the one that sends spans and metrics to a receiver of OpenTelemetry. */
const TRACED_OFFSET = 6_700;
const FRESH_OFFSET = 6_800;
/** Most requests at the workers at one time. */
const PLACES = 2_000;
const READY_WITHIN_MS = 30_000;

/** A gateway of ours. */
export interface Gateway extends Running {
  readonly address: string;
  readonly metricsUrl: string;
  readonly healthUrl: string;
}

/** Our system as it runs: Redis, the three controllers, all linked to the gateway; only the worker is a fake one. */
export class System {
  readonly gateway: Gateway;
  readonly #folder: string;
  readonly #stops: (() => Promise<void>)[];
  readonly #env: Record<string, string>;
  #narrow: Gateway | undefined;
  #traced: Gateway | undefined;

  private constructor(gateway: Gateway, folder: string, env: Record<string, string>, stops: (() => Promise<void>)[]) {
    this.gateway = gateway;
    this.#folder = folder;
    this.#env = env;
    this.#stops = stops;
  }

  /** @param workers as MLX_SERVING_WORKERS has them */
  static async start(workers: string): Promise<System> {
    const folder = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));
    const redis = await startRedis();
    const env = { ...environmentOf(PORT_OFFSET, folder, redis.url), MLX_SERVING_WORKERS: workers, MLX_SERVING_CONFIG_DIR: configure(folder, 'config', PLACES) };
    const stops: (() => Promise<void>)[] = [];
    for (const name of ['flags', 'qos', 'canary'] as const) {
      const service = await startService(name, env, portsFor(PORT_OFFSET)[`${name}Operations`]);
      stops.unshift(() => service.stop());
    }
    const gateway = await startGateway(env, PORT_OFFSET, 'gateway');
    return new System(gateway, folder, env, [() => gateway.stop(), ...stops, () => redis.dispose()]);
  }

  /** The flag service, `host:port`. */
  get flagsAddress(): string {
    return this.#env['MLX_SERVING_FLAGS_ADDRESS'] ?? '';
  }

  /** A second gateway with room for one request at a time, started when it is first needed. */
  async narrow(): Promise<Gateway> {
    // Nobody lends it a wider limit.
    return (this.#narrow ??= await this.#another('narrow', NARROW_OFFSET, { MLX_SERVING_CONFIG_DIR: configure(this.#folder, 'narrow-config', 1), MLX_SERVING_FLAGS_ADDRESS: this.flagsAddress }));
  }

  /** A gateway like the first one, which sends spans and metrics to a receiver, started when it is first needed. */
  async traced(): Promise<Gateway> {
    if (this.#traced) return this.#traced;
    const receiver = createServer((request, response) => request.resume().once('end', () => response.end('{}'))).listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    this.#stops.push(async () => void receiver.close());
    const endpoint = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    return (this.#traced = await this.#another('traced', TRACED_OFFSET, { ...this.#linked, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }));
  }

  /** A gateway like the first one that has served nobody yet. One at a time: whoever asks for it stops it. */
  fresh(): Promise<Gateway> {
    return this.#another('fresh', FRESH_OFFSET, this.#linked);
  }

  /** What links another gateway to the controllers of this system. */
  get #linked(): Record<string, string> {
    const { MLX_SERVING_FLAGS_ADDRESS = '', MLX_SERVING_QOS_ADDRESS = '', MLX_SERVING_CANARY_ADDRESS = '', MLX_SERVING_CONFIG_DIR = '' } = this.#env;
    return { MLX_SERVING_FLAGS_ADDRESS, MLX_SERVING_QOS_ADDRESS, MLX_SERVING_CANARY_ADDRESS, MLX_SERVING_CONFIG_DIR };
  }

  async #another(name: string, offset: number, more: Record<string, string>): Promise<Gateway> {
    const ports = environmentOf(offset, join(this.#folder, name), this.#env['REDIS_URL'] ?? '');
    const gateway = await startGateway({ ...ports, MLX_SERVING_WORKERS: this.#env['MLX_SERVING_WORKERS'] ?? '', ...more }, offset, `${name}-gateway`);
    this.#stops.unshift(() => gateway.stop());
    return gateway;
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) await stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function environmentOf(offset: number, stateDirectory: string, redisUrl: string): Record<string, string> {
  return serviceEnvironment({ root, stateDirectory, ports: portsFor(offset), canary: false, redisUrl, environment: {} } as Parameters<typeof serviceEnvironment>[0]);
}

/** The shipped configuration, with so many places; the lean transport for the user `lean` alone. */
function configure(folder: string, name: string, places: number): string {
  const directory = join(folder, name);
  cpSync(join(root, 'config'), directory, { recursive: true });
  edit(join(directory, 'runtime.yaml'), /max_concurrent_streams: \d+/, `max_concurrent_streams: ${places}`);
  edit(join(directory, 'feature-flags.yaml'), /http2_transport:\n {2}enabled: false\n/, 'http2_transport:\n  enabled: true\n  whitelist: [lean]\n');
  return directory;
}

function edit(path: string, pattern: RegExp, replacement: string): void {
  const text = readFileSync(path, 'utf8');
  if (!pattern.test(text)) throw new Error(`${path} has no ${pattern.source}.`);
  writeFileSync(path, text.replace(pattern, replacement));
}

function startService(name: string, env: Record<string, string>, operationsPort: number, logName = name): Promise<Running> {
  const command = ['node', ...(process.env['BENCH_NODE_OPTIONS']?.split(' ') ?? []), '--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', join(root, 'apps', name, 'src', 'main.ts')];
  return startProcess(logName, command, `http://127.0.0.1:${operationsPort}/health/live`, env);
}

async function startGateway(env: Record<string, string>, offset: number, logName: string): Promise<Gateway> {
  const ports = portsFor(offset);
  const running = await startService('gateway', env, ports.gatewayOperations, logName);
  const healthUrl = `http://127.0.0.1:${ports.gatewayHttp}/health/ready`;
  for (const began = performance.now(); (await fetch(healthUrl)).status !== 200; await delay(50)) {
    if (performance.now() - began > READY_WITHIN_MS) throw new Error(`${logName} is not ready: ${await (await fetch(healthUrl)).text()}`);
  }
  return { ...running, address: `127.0.0.1:${ports.gatewayHttp}`, metricsUrl: `http://127.0.0.1:${ports.gatewayOperations}/metrics`, healthUrl };
}
