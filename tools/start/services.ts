import { join } from 'node:path';
import type { Ports } from './ports.ts';

/** How one process of the system is started, and how one knows that it is ready. */
export interface ServiceSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly ready: { readonly kind: 'http' | 'redis'; readonly port: number };
  /** Whether SIGHUP makes it read its configuration again. */
  readonly reloads: boolean;
  /** Those with the highest number stop first, and the next ones when they have ended. */
  readonly stopStage: number;
  /** After so many milliseconds without a sign of life it is killed, and started again. Absent: it is not watched. */
  readonly stuckAfterMs?: number;
}

export interface SystemOptions {
  readonly root: string;
  readonly stateDirectory: string;
  readonly ports: Ports;
  readonly canary: boolean;
  readonly node: string;
  readonly python: string;
  /** Empty when `redisUrl` names a Redis that runs already. */
  readonly redisServer: string;
  readonly redisUrl: string;
  readonly environment: NodeJS.ProcessEnv;
}

/** A worker whose device or process hangs says nothing; a loaded machine may take some seconds to let it speak. */
const DEFAULT_STUCK_AFTER_MS = 20_000;

/** Every process of the system, in the order in which it is shown. Redis is the first when it is ours. */
export function servicesOf(options: SystemOptions): ServiceSpec[] {
  const { ports, canary, redisServer } = options;
  const workers = [worker(options, 'worker', ports.worker, ports.workerOperations)];
  if (canary) workers.push(worker(options, 'canary-worker', ports.canaryWorker, ports.canaryWorkerOperations));
  return [
    ...(redisServer === '' ? [] : [redis(options)]),
    ...workers,
    nodeService(options, 'flags', ports.flagsOperations, 2),
    nodeService(options, 'qos', ports.qosOperations, 2),
    nodeService(options, 'canary', ports.canaryOperations, 2),
    nodeService(options, 'admin', ports.adminOperations, 3),
    nodeService(options, 'gateway', ports.gatewayOperations, 4),
  ];
}

function redis({ redisServer, stateDirectory, ports }: SystemOptions): ServiceSpec {
  // Every write reaches the disk before its answer: a kill that was confirmed outlives a power cut.
  // Writes are rare (operators' changes, counters in batches), so the price of `always` is not felt.
  const settings = ['--bind', '127.0.0.1', '--port', String(ports.redis), '--dir', join(stateDirectory, 'redis'), '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
  return { name: 'redis', command: [redisServer, ...settings], env: {}, ready: { kind: 'redis', port: ports.redis }, reloads: false, stopStage: 0 };
}

function worker({ root, python, environment }: SystemOptions, name: string, port: number, metricsPort: number): ServiceSpec {
  const model = environment['MODEL'] ?? 'tiny';
  const settings = ['--host', '127.0.0.1', '--port', String(port), '--metrics-port', String(metricsPort), '--worker-id', name, '--model', model];
  const env = { MLX_SERVING_CONFIG_DIR: configDirectoryOf(root, environment) };
  const stuckAfterMs = Number(environment['MLX_SERVING_STUCK_AFTER_MS'] ?? DEFAULT_STUCK_AFTER_MS);
  return { name, command: [python, '-m', 'mlx_worker', ...settings], env, ready: { kind: 'http', port: metricsPort }, reloads: false, stopStage: 1, stuckAfterMs };
}

function nodeService(options: SystemOptions, name: string, operationsPort: number, stopStage: number): ServiceSpec {
  const entry = join(options.root, 'apps', name, 'src', 'main.ts');
  const command = [options.node, '--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', entry];
  return { name, command, env: serviceEnvironment(options), ready: { kind: 'http', port: operationsPort }, reloads: true, stopStage };
}

/** One environment for all services: each reads what it needs. */
export function serviceEnvironment({ root, stateDirectory, ports, canary, redisUrl, environment }: SystemOptions): Record<string, string> {
  const local = (port: number): string => `127.0.0.1:${port}`;
  return {
    MLX_SERVING_STATE_DIR: stateDirectory,
    MLX_SERVING_CONFIG_DIR: configDirectoryOf(root, environment),
    MLX_SERVING_ADMIN_TOKEN_FILE: environment['MLX_SERVING_ADMIN_TOKEN_FILE'] ?? join(stateDirectory, 'admin-token'),
    REDIS_URL: redisUrl,
    MLX_SERVING_GATEWAY_HTTP_PORT: String(ports.gatewayHttp),
    MLX_SERVING_GATEWAY_GRPC_PORT: String(ports.gatewayGrpc),
    MLX_SERVING_GATEWAY_OPERATIONS_PORT: String(ports.gatewayOperations),
    MLX_SERVING_FLAGS_GRPC_PORT: String(ports.flags),
    MLX_SERVING_FLAGS_OPERATIONS_PORT: String(ports.flagsOperations),
    MLX_SERVING_QOS_GRPC_PORT: String(ports.qos),
    MLX_SERVING_QOS_OPERATIONS_PORT: String(ports.qosOperations),
    MLX_SERVING_CANARY_GRPC_PORT: String(ports.canary),
    MLX_SERVING_CANARY_OPERATIONS_PORT: String(ports.canaryOperations),
    MLX_SERVING_ADMIN_HTTP_PORT: String(ports.admin),
    MLX_SERVING_ADMIN_OPERATIONS_PORT: String(ports.adminOperations),
    MLX_SERVING_FLAGS_ADDRESS: local(ports.flags),
    MLX_SERVING_QOS_ADDRESS: local(ports.qos),
    MLX_SERVING_CANARY_ADDRESS: local(ports.canary),
    MLX_SERVING_GATEWAY_URL: `http://${local(ports.gatewayHttp)}`,
    MLX_SERVING_WORKERS: environment['MLX_SERVING_WORKERS'] ?? local(ports.worker),
    MLX_SERVING_CANARY_WORKERS: environment['MLX_SERVING_CANARY_WORKERS'] ?? (canary ? local(ports.canaryWorker) : ''),
  };
}

function configDirectoryOf(root: string, environment: NodeJS.ProcessEnv): string {
  return environment['MLX_SERVING_CONFIG_DIR'] ?? join(root, 'config');
}
