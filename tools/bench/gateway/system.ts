import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
    const env = { ...environmentOf(PORT_OFFSET, folder, redis.url), MLX_SERVING_WORKERS: workers, MLX_SERVING_CONFIG_DIR: configure(folder, 'config', 2_000) };
    const stops: (() => Promise<void>)[] = [];
    for (const name of ['flags', 'qos', 'canary'] as const) {
      const service = await startService(name, env, portsFor(PORT_OFFSET)[`${name}Operations`]);
      stops.unshift(() => service.stop());
    }
    const gateway = await startGateway(env, PORT_OFFSET, 'gateway');
    return new System(gateway, folder, env, [() => gateway.stop(), ...stops, () => redis.dispose()]);
  }

  /** A second gateway with room for one request at a time, started when it is first needed. */
  async narrow(): Promise<Gateway> {
    if (this.#narrow) return this.#narrow;
    const ports = environmentOf(NARROW_OFFSET, join(this.#folder, 'narrow'), this.#env['REDIS_URL'] ?? '');
    // Nobody lends it a wider limit.
    const env = { ...ports, MLX_SERVING_WORKERS: this.#env['MLX_SERVING_WORKERS'] ?? '', MLX_SERVING_CONFIG_DIR: configure(this.#folder, 'narrow-config', 1), MLX_SERVING_FLAGS_ADDRESS: this.#env['MLX_SERVING_FLAGS_ADDRESS'] ?? '' };
    const gateway = await startGateway(env, NARROW_OFFSET, 'narrow-gateway');
    this.#stops.unshift(() => gateway.stop());
    return (this.#narrow = gateway);
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
