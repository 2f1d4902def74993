import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { canaryFile, type CanaryFile } from '@mlx-serving/policy';
import { type App, assertBindable, ConfigFile, createRedis, type Logger, OperationsServer, ReplicaRegistry } from '@mlx-serving/service-kit';
import { ComparisonService } from './comparison/comparison-service.ts';
import type { CanaryConfig } from './config.ts';
import { createHealth } from './health.ts';
import { directive, type Gateways } from './link/link-handler.ts';
import { type CanaryMetrics, createCanaryMetrics } from './metrics.ts';
import { createRolloutFeature } from './rollout/create-rollout.ts';
import { RedisRolloutStore } from './rollout/redis-rollout-store.ts';
import { RedisRoutingStore } from './routing/redis-routing-store.ts';
import { LEASE_BEAT_MS, RoutingService } from './routing/routing-service.ts';
import { createServer } from './server.ts';

export interface CanaryApp extends App {
  /** The ports it listens on, which matters when 0 was asked for. Both are 0 before the start. */
  readonly ports: { readonly grpc: number; readonly operations: number };
}

/** Composes the service. @throws StartupError or ConfigError when it cannot run with this configuration */
export async function createApp(config: CanaryConfig, logger: Logger, now: () => number = () => performance.now()): Promise<CanaryApp> {
  assertBindable(config.host, config.trustedNetwork);
  const metrics = createCanaryMetrics();
  const onChange = (value: CanaryFile): Promise<void> => configure(value);
  const file = new ConfigFile({ path: join(config.configDirectory, 'canary.yaml'), schema: canaryFile, logger, onChange, onRefused: () => metrics.refusedConfigurations.inc() });
  const initial = await file.load();
  const redis = createRedis(config.redisUrl, logger, 'canary');
  const gateways: Gateways = new ReplicaRegistry();
  const routing: RoutingService = createRouting(new RedisRoutingStore(redis, config.redisPrefix), { hasCanaryWorker: () => feature.hasCanaryWorker(), gateways, metrics, logger });
  const comparison: ComparisonService = new ComparisonService({
    status: (summaries) => feature.status(summaries),
    onReport: (report) => feature.service.ingest(report),
    onLook: () => feature.service.look().catch((error: Error) => logger.error({ err: error }, 'the rollout could not be looked at')),
    onChange: (value) => gateways.broadcast(directive({ case: 'comparison', value })),
    metrics,
    now,
  });
  const store = new RedisRolloutStore(redis, config.redisPrefix);
  const feature = createRolloutFeature({ store, holder: holderOf(config), addresses: config.canaryWorkers, routing, comparison, gateways, metrics, now, logger });
  const configure = async (value: CanaryFile): Promise<void> => {
    comparison.configure(value.monitoring);
    await feature.service.configure(value);
  };
  const server = createServer({ gateways, routing, comparison, metrics, ...feature.doors }, logger);
  const ports = { grpc: 0, operations: 0 };
  let beat: NodeJS.Timeout | undefined;
  const health = createHealth({ isListening: () => ports.grpc !== 0, gateways, routing, keeper: feature.keeper });
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  return {
    ports,
    start: async () => {
      ports.operations = await operations.start();
      await configure(initial);
      await feature.start();
      ports.grpc = await server.start(config.host, config.grpcPort);
      file.watch();
      beat = setInterval(() => gateways.broadcast(directive({ case: 'lease', value: { revision: routing.table.revision } })), LEASE_BEAT_MS);
    },
    reload: () => file.reload(),
    stop: async () => {
      clearInterval(beat);
      file.stop();
      comparison.stop();
      await feature.stop();
      routing.stop();
      gateways.close();
      await server.stop();
      await operations.stop();
      redis.disconnect();
    },
  };
}

interface RoutingParts {
  readonly hasCanaryWorker: () => boolean;
  readonly gateways: Gateways;
  readonly metrics: CanaryMetrics;
  readonly logger: Logger;
}

function createRouting(store: RedisRoutingStore, { hasCanaryWorker, gateways, metrics, logger }: RoutingParts): RoutingService {
  return new RoutingService({
    store,
    hasCanaryWorker,
    logger,
    onTable: (table) => {
      metrics.routingRevision.set(Number(table.revision));
      metrics.rolloutPercentage.set(table.enabled ? table.rolloutPercentage : 0);
      gateways.broadcast(directive({ case: 'routingTable', value: table }));
    },
  });
}

/** Two processes never have one host and port at a time, so this names the replica over its restarts. */
function holderOf({ replicaId, grpcPort }: CanaryConfig): string {
  return replicaId || `${hostname()}:${grpcPort || randomUUID()}`;
}
