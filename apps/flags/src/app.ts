import { join } from 'node:path';
import type { FlagsLinkRequest, FlagsLinkResponse } from '@mlx-serving/contracts';
import { type App, assertBindable, createRedis, type Logger, OperationsServer, ReplicaRegistry } from '@mlx-serving/service-kit';
import type { FlagsConfig } from './config.ts';
import { FlagsFile } from './file/flags-file.ts';
import { FlagsService } from './flags/flags-service.ts';
import { createHealth } from './health.ts';
import { createFlagsMetrics, showLiveFlags } from './metrics.ts';
import { createServer } from './server.ts';
import { changeDirective } from './snapshot/flag-messages.ts';
import { LiveFlags } from './snapshot/live-flags.ts';
import { SnapshotRefresher } from './snapshot/snapshot-refresher.ts';
import type { FlagStore } from './store/flag-store.ts';
import { RedisFlagStore } from './store/redis-flag-store.ts';
import { DecisionCounter } from './usage/decision-counter.ts';

export interface FlagsApp extends App {
  reload(): Promise<void>;
  /** Where it listens, once it was started. */
  readonly ports: { grpc: number; operations: number };
}

/** Composes the flag service. Nothing is opened before `start`. */
export function createApp(config: FlagsConfig, logger: Logger): FlagsApp {
  assertBindable(config.host, config.trustedNetwork);
  const store = createStore(config, logger);
  const metrics = createFlagsMetrics();
  const replicas = new ReplicaRegistry<FlagsLinkRequest, FlagsLinkResponse>();
  const live = new LiveFlags({
    onChange: (change) => {
      replicas.broadcast(changeDirective(live, change));
      showLiveFlags(metrics, live);
    },
    onUndecodable: (name, problem) => logger.error({ flag: name, problem }, 'an entry in redis cannot be read; the last good value of this flag stays in force'),
  });
  const counter = new DecisionCounter({
    store,
    logger,
    isKnown: (name) => live.get(name) !== undefined,
    onCounted: (feature, { enabled, disabled }) => {
      metrics.decisions.inc({ feature, enabled: 'true' }, Number(enabled));
      metrics.decisions.inc({ feature, enabled: 'false' }, Number(disabled));
    },
  });
  const refresher = new SnapshotRefresher({
    ...{ store, live, logger, refreshMs: config.refreshMs, revisionCheckMs: config.revisionCheckMs },
    onStoreError: () => metrics.storeErrors.inc(),
    onLoaded: (reset) => void file.applyPending(reset),
  });
  const { acknowledgeWithinMs } = config;
  const service = new FlagsService({ store, live, refresher, replicas, counter, logger, acknowledgeWithinMs, onWrite: (kind) => metrics.writes.inc({ kind }) });
  const file = new FlagsFile({
    ...{ path: join(config.configDirectory, 'feature-flags.yaml'), store, live, service, logger },
    onRefused: () => metrics.refusedFiles.inc(),
    onWrite: () => metrics.writes.inc({ kind: 'file' }),
  });
  const server = createServer(logger, service, { live, replicas, counter, logger, onLinks: (count) => metrics.linkedReplicas.set(count) });
  const health = createHealth(live, refresher, replicas);
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  const ports = { grpc: 0, operations: 0 };
  return {
    ports,
    async start() {
      ports.operations = await operations.start();
      ports.grpc = await server.start(config.host, config.grpcPort);
      refresher.start();
      counter.start();
      await file.start();
    },
    async stop() {
      refresher.stop();
      file.stop();
      replicas.close();
      await server.stop();
      await counter.stop();
      await store.stop();
      await operations.stop();
    },
    reload: () => file.reload(),
  };
}

/** One connection for commands and one that listens. */
function createStore(config: FlagsConfig, logger: Logger): FlagStore {
  return new RedisFlagStore({
    redis: createRedis(config.redisUrl, logger, 'flags'),
    subscriber: createRedis(config.redisUrl, logger, 'flags-changes'),
    prefix: config.redisPrefix,
    logger,
  });
}
