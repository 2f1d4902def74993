import { join } from 'node:path';
import { canaryFile, type CanaryFile } from '@mlx-serving/policy';
import { type App, assertBindable, ConfigFile, createRedis, type Logger, OperationsServer, ReplicaRegistry } from '@mlx-serving/service-kit';
import { ComparisonService } from './comparison/comparison-service.ts';
import type { CanaryConfig } from './config.ts';
import { createHealth } from './health.ts';
import { directive, type Gateways } from './link/link-handler.ts';
import { createCanaryMetrics } from './metrics.ts';
import { RedisRoutingStore } from './routing/redis-routing-store.ts';
import { RoutingService } from './routing/routing-service.ts';
import { createServer } from './server.ts';

export interface CanaryApp extends App {
  /** The ports it listens on, which matters when 0 was asked for. Both are 0 before the start. */
  readonly ports: { readonly grpc: number; readonly operations: number };
}

/** Composes the service. @throws StartupError or ConfigError when it cannot run with this configuration */
export async function createApp(config: CanaryConfig, logger: Logger, now: () => number = () => performance.now()): Promise<CanaryApp> {
  assertBindable(config.host, config.trustedNetwork);
  const metrics = createCanaryMetrics();
  const file = new ConfigFile({
    path: join(config.configDirectory, 'canary.yaml'),
    schema: canaryFile,
    logger,
    onChange: (value) => configure(value),
    onRefused: () => metrics.refusedConfigurations.inc(),
  });
  const initial = await file.load();
  const redis = createRedis(config.redisUrl, logger, 'canary');
  const gateways: Gateways = new ReplicaRegistry();
  const routing = new RoutingService({
    store: new RedisRoutingStore(redis, config.redisPrefix),
    hasCanaryWorker: config.canaryWorkers.length > 0,
    logger,
    onTable: (table) => {
      metrics.routingRevision.set(Number(table.revision));
      metrics.rolloutPercentage.set(table.enabled ? table.rolloutPercentage : 0);
      gateways.broadcast(directive({ case: 'routingTable', value: table }));
    },
  });
  const comparison = new ComparisonService({
    isEnabled: () => routing.table.enabled,
    onChange: (value) => gateways.broadcast(directive({ case: 'comparison', value })),
    metrics,
    now,
  });
  const configure = (value: CanaryFile): Promise<void> => {
    comparison.configure(value.monitoring);
    return routing.apply(value.canary);
  };
  const server = createServer({ gateways, routing, comparison, metrics }, logger);
  const ports = { grpc: 0, operations: 0 };
  const health = createHealth({ isListening: () => ports.grpc !== 0, gateways, routing });
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  return {
    ports,
    start: async () => {
      ports.operations = await operations.start();
      await configure(initial);
      ports.grpc = await server.start(config.host, config.grpcPort);
      file.watch();
    },
    reload: () => file.reload(),
    stop: async () => {
      file.stop();
      comparison.stop();
      routing.stop();
      gateways.close();
      await server.stop();
      await operations.stop();
      redis.disconnect();
    },
  };
}
