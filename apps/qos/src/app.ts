import { join } from 'node:path';
import { runtimeFile, type RuntimeFile } from '@mlx-serving/policy';
import { type App, assertBindable, ConfigFile, type Logger, OperationsServer, ReplicaRegistry } from '@mlx-serving/service-kit';
import type { QosConfig } from './config.ts';
import { checkPolicies } from './evaluation/check-policies.ts';
import { EvaluationService } from './evaluation/evaluation-service.ts';
import { createHealth } from './health.ts';
import { LeaseService } from './leases/lease-service.ts';
import type { Gateways } from './link/link-handler.ts';
import { createQosMetrics } from './metrics.ts';
import { ReportService } from './reports/report-service.ts';
import { createServer } from './server.ts';
import { WorkerService } from './workers/worker-service.ts';

export interface QosApp extends App {
  /** The ports it listens on, which matters when 0 was asked for. Both are 0 before the start. */
  readonly ports: { readonly grpc: number; readonly operations: number };
}

/** Composes the service. @throws StartupError or ConfigError when it cannot run with this configuration */
export async function createApp(config: QosConfig, logger: Logger, now: () => number = () => performance.now()): Promise<QosApp> {
  assertBindable(config.host, config.trustedNetwork);
  const metrics = createQosMetrics();
  const file = new ConfigFile({
    path: join(config.configDirectory, 'runtime.yaml'),
    schema: runtimeFile,
    crossCheck: checkPolicies,
    logger,
    onChange: (value) => configure(value),
    onRefused: () => metrics.refusedConfigurations.inc(),
  });
  const initial = await file.load();
  const gateways: Gateways = new ReplicaRegistry();
  const reports = new ReportService(metrics, now);
  const leases = new LeaseService(metrics, initial.governor);
  const workers = new WorkerService([...new Set([...config.workers, ...config.canaryWorkers])], metrics, logger);
  const evaluation = new EvaluationService({ reports, runningRequests: () => workers.runningRequests(), metrics, logger });
  const configure = (value: RuntimeFile): void => {
    reports.configure(value);
    evaluation.configure(value.qos_monitor);
    leases.configure(value.governor);
  };
  const server = createServer({ gateways, reports, leases, workers, metrics }, logger);
  const ports = { grpc: 0, operations: 0 };
  const health = createHealth({ isListening: () => ports.grpc !== 0, gateways, leases, evaluation, workers });
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  return {
    ports,
    start: async () => {
      configure(initial);
      ports.operations = await operations.start();
      ports.grpc = await server.start(config.host, config.grpcPort);
      workers.start();
      file.watch();
    },
    reload: () => file.reload(),
    stop: async () => {
      file.stop();
      evaluation.stop();
      leases.stop();
      workers.stop();
      gateways.close();
      await server.stop();
      await operations.stop();
    },
  };
}
