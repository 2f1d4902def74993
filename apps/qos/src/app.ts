import { hostname } from 'node:os';
import { join } from 'node:path';
import { checkPolicies, type RuntimeFile, runtimeFile } from '@mlx-serving/policy';
import { type App, assertBindable, ConfigFile, createRedis, type Logger, OperationsServer, ReplicaRegistry } from '@mlx-serving/service-kit';
import { readAlertTargets } from './alerts/alert-secrets.ts';
import { AlertService } from './alerts/alert-service.ts';
import type { QosConfig } from './config.ts';
import { ControlKeeper } from './control/control-keeper.ts';
import { ControlService } from './control/control-service.ts';
import { RedisControlStore } from './control/redis-control-store.ts';
import { createHealth } from './health.ts';
import { LeaseService } from './leases/lease-service.ts';
import type { Gateways } from './link/link-handler.ts';
import { createQosMetrics } from './metrics.ts';
import { Recording } from './recording/recording.ts';
import { ReportExchange, type ReportExchangeOptions } from './reports/report-exchange.ts';
import { ReportService } from './reports/report-service.ts';
import { createServer } from './server.ts';
import { CanaryWatch } from './surroundings/canary-watch.ts';
import { FlagWatch } from './surroundings/flag-watch.ts';
import { WorkerLimits } from './workers/worker-limits.ts';
import { WorkerService } from './workers/worker-service.ts';

export interface QosApp extends App {
  /** The ports it listens on, which matters when 0 was asked for. Both are 0 before the start. */
  readonly ports: { readonly grpc: number; readonly operations: number };
}

/** Unix time that never jumps while the process runs: of the system's clock only the start is taken. */
function steadyClock(): () => number {
  const startedAt = Date.now() - performance.now();
  return () => startedAt + performance.now();
}

/** Composes the service. @throws StartupError or ConfigError when it cannot run with this configuration */
export async function createApp(config: QosConfig, logger: Logger, now: () => number = steadyClock()): Promise<QosApp> {
  assertBindable(config.host, config.trustedNetwork);
  const metrics = createQosMetrics();
  const file = new ConfigFile({
    path: join(config.configDirectory, 'runtime.yaml'),
    schema: runtimeFile,
    crossCheck: checkPolicies,
    logger,
    onChange: (value) => control.configure(value),
    onRefused: () => metrics.refusedConfigurations.inc(),
  });
  const runtime = await file.load();
  const redis = createRedis(config.redisUrl, logger, 'qos');
  const exchange = createExchange(config, logger, redis, { linkedGateways: (): number => gateways.ids.length, onBatch: (replicaId, epoch, batch) => reports.ingest(replicaId, epoch, batch) });
  const parts = createParts(config, runtime, logger, { metrics, now, linkedGateways: () => exchange.gateways });
  const { control, workers, gateways, leases, alerts, canary, flags, workerLimits } = parts;
  const reports = new ReportService({ metrics, onSample: (sample) => (parts.recording.add({ ...sample, atMs: now() }), control.add(sample)) });
  parts.keeper = createKeeper(config, logger, redis, control);
  const server = createServer({ ...parts, reports, exchange, keeper: parts.keeper, baseLimit: () => file.value.governor.max_concurrent_streams }, logger);
  const ports = { grpc: 0, operations: 0 };
  const health = createHealth({ isListening: () => ports.grpc !== 0, gateways, leases, control, workers, keeper: parts.keeper });
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  return {
    ports,
    start: async () => {
      await redis.connect().catch(() => undefined);
      exchange.start();
      await flags.start();
      await parts.keeper?.start();
      control.configure(runtime);
      ports.operations = await operations.start();
      ports.grpc = await server.start(config.host, config.grpcPort);
      workers.start();
      canary.start();
      file.watch();
    },
    reload: () => file.reload(),
    stop: async () => {
      file.stop();
      control.stop();
      leases.stop();
      workers.stop();
      gateways.close();
      canary.stop();
      flags.stop();
      await alerts.stop();
      await control.keepAll();
      await parts.keeper?.stop();
      workerLimits.close();
      exchange.stop();
      redis.disconnect();
      await server.stop();
      await operations.stop();
    },
  };
}

function createKeeper(config: QosConfig, logger: Logger, redis: ReportExchangeOptions['redis'], control: ControlService): ControlKeeper {
  return new ControlKeeper({
    store: new RedisControlStore(redis, config.redisPrefix),
    holder: config.replicaId || `qos-${hostname()}-${config.grpcPort}`,
    onKept: (kept, acting) => control.takeUp(kept, acting),
    onBudgets: (kept) => control.controller.evaluator.takeUpBudgets(kept),
    logger,
    now: () => performance.now(),
  });
}

function createExchange({ redisUrl, redisPrefix: prefix }: QosConfig, logger: Logger, redis: ReportExchangeOptions['redis'], options: Pick<ReportExchangeOptions, 'linkedGateways' | 'onBatch'>): ReportExchange {
  return new ReportExchange({ redis, subscriber: createRedis(redisUrl, logger, 'qos-reports'), prefix, now: () => performance.now(), ...options });
}

interface Common {
  readonly metrics: ReturnType<typeof createQosMetrics>;
  readonly now: () => number;
  /** Gateways that are linked to any replica. */
  readonly linkedGateways: () => number;
}

/** Everything that does not need another part to be made first. */
function createParts(config: QosConfig, runtime: RuntimeFile, logger: Logger, { metrics, now, linkedGateways }: Common) {
  const gateways: Gateways = new ReplicaRegistry();
  const leases = new LeaseService(metrics);
  const workerLimits = new WorkerLimits({ addresses: (): readonly string[] => workers.addresses, pidOf: (address): number | undefined => workers.pidOf(address), logger });
  const memoryLimitBytes = (address: string): number => workerLimits.memoryLimitBytes(address);
  const workers = new WorkerService({ baseline: config.workers, canary: config.canaryWorkers, memoryLimitBytes, metrics, logger, now });
  const targets = readAlertTargets(config);
  const alerts = new AlertService({ targets: () => targets, metrics, logger, now });
  const canary = new CanaryWatch(config.canaryAddress, now);
  const flags = new FlagWatch(config.flagsAddress, config.replicaId || 'qos', config.environment);
  const parts = { gateways, leases, workers, workerLimits, alerts, canary, flags, metrics, recording: new Recording(), keeper: undefined as ControlKeeper | undefined };
  const keeper = (): ControlKeeper => parts.keeper as ControlKeeper;
  const control = new ControlService({ ...parts, runtime, keeper, linkedGateways, logger, now });
  return Object.assign(parts, { control });
}
