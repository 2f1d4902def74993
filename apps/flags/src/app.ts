import { join } from 'node:path';
import type { FlagsLinkRequest, FlagsLinkResponse } from '@mlx-serving/contracts';
import { type App, assertBindable, createRedis, type Logger, OperationsServer, ReplicaRegistry } from '@mlx-serving/service-kit';
import { TokenService } from './access/token-service.ts';
import { ApprovalService } from './approval/approval-service.ts';
import { ProductionRules } from './approval/production-rules.ts';
import { AuditArchive } from './audit/audit-archive.ts';
import { AuditService } from './audit/audit-service.ts';
import { HistoryService } from './audit/history-service.ts';
import { type FlagsConfig, replicaIdOf } from './config.ts';
import { FlagsFile } from './file/flags-file.ts';
import { SharedObservability } from './file/shared-observability.ts';
import { FlagWriter } from './flags/flag-writer.ts';
import { FlagsService } from './flags/flags-service.ts';
import { createHealth } from './health.ts';
import { ImpactService } from './impact/impact-service.ts';
import { KeyService } from './keys/key-service.ts';
import { RedisSpending } from './keys/redis-spending.ts';
import { SpendingService } from './keys/spending-service.ts';
import { KillJournal } from './kill/kill-journal.ts';
import { KillService } from './kill/kill-service.ts';
import { createFlagsMetrics, type FlagsMetrics, MetricNames, showLiveFlags } from './metrics.ts';
import { FlagPeers } from './peers/flag-peers.ts';
import { createErrorRateGuard } from './rollout/error-rate-guard.ts';
import { RolloutDriver } from './rollout/rollout-driver.ts';
import { RolloutJudge } from './rollout/rollout-judge.ts';
import { RolloutService } from './rollout/rollout-service.ts';
import { ImportService } from './segments/import-service.ts';
import { SegmentsService } from './segments/segments-service.ts';
import { createServer } from './server.ts';
import { changeDirective } from './snapshot/flag-messages.ts';
import { KeptState } from './snapshot/kept-state.ts';
import { LiveFlags } from './snapshot/live-flags.ts';
import { RecordReader } from './snapshot/record-reader.ts';
import { SnapshotRefresher } from './snapshot/snapshot-refresher.ts';
import { StaleService } from './stale/stale-service.ts';
import { RedisFlagStore } from './store/redis-flag-store.ts';
import { SettleService } from './store-loss/settle-service.ts';
import { DecisionCounter } from './usage/decision-counter.ts';

/** Longest wait for a read of everything, in milliseconds. */
const BULK_TIMEOUT_MS = 4_000;

export interface FlagsApp extends App {
  reload(): Promise<void>;
  /** Where it listens, once it was started. */
  readonly ports: { grpc: number; operations: number };
}

/** Composes the flag service. Nothing is opened before `start`. */
export function createApp(config: FlagsConfig, logger: Logger): FlagsApp {
  assertBindable(config.host, config.trustedNetwork);
  const metrics = createFlagsMetrics();
  const names = new MetricNames(metrics.registry);
  const core = createCore(config, metrics, logger);
  const features = createFeatures(config, core, logger);
  const { store, live, refresher, replicas, peers, counter, kept } = core;
  const { kills, driver, rules } = features;
  const archive = new AuditArchive({ id: core.id, store, folder: join(config.stateDirectory, 'audit', core.id), keep: config.auditKeep, logger });
  const observability = new SharedObservability(names, replicas);
  const file = createFile(config, core, features, observability, metrics, logger);
  core.follow(async () => {
    kept.save();
    await kills.flush();
    await file.applyPending();
  });
  const settling = new SettleService({ store, live, refresher, kills, rules, logger, onAccepted: () => file.applyPending(true) });
  const onLinks = (count: number): void => {
    metrics.linkedReplicas.set(count);
    kept.save();
  };
  const server = createServer(logger, { ...core, ...features, settling, environment: config.environment, logger, onLinks, greetings: () => [...(observability.directive ? [observability.directive] : []), features.judge.directive] });
  const health = createHealth({ live, refresher, replicas, kills });
  const showState = (): void => {
    showLiveFlags(metrics, live);
    metrics.journalledKills.set(kills.journalled.length);
    metrics.storeLost.set(refresher.lost ? 1 : 0);
  };
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: names.showing(showState), health });
  const ports = { grpc: 0, operations: 0 };
  return {
    ports,
    async start() {
      await kept.restore();
      await kills.restore();
      ports.operations = await operations.start();
      ports.grpc = await server.start(config.host, config.grpcPort);
      for (const part of [refresher, peers, counter, driver, archive]) part.start();
      await file.start();
    },
    async stop() {
      refresher.stop();
      peers.stop();
      file.stop();
      await driver.stop();
      await archive.stop();
      features.guard.close();
      replicas.close();
      await server.stop();
      await counter.stop();
      await store.stop();
      await kept.write();
      await operations.stop();
    },
    reload: () => file.reload(),
  };
}

/** What holds the flags, here and in the store, and how they get out to the gateways. */
function createCore(config: FlagsConfig, metrics: FlagsMetrics, logger: Logger) {
  const id = replicaIdOf(config);
  const redis = createRedis(config.redisUrl, logger, 'flags');
  const store = new RedisFlagStore({
    redis,
    bulk: createRedis(config.redisUrl, logger, 'flags-bulk', { commandTimeoutMs: BULK_TIMEOUT_MS }),
    subscriber: createRedis(config.redisUrl, logger, 'flags-changes'),
    prefix: config.redisPrefix,
    logger,
  });
  const replicas = new ReplicaRegistry<FlagsLinkRequest, FlagsLinkResponse>();
  const live = new LiveFlags({
    onChange: (change) => {
      replicas.broadcast(changeDirective(live, change));
      keys.announce();
      kept.save();
    },
    onUndecodable: (name, problem) => logger.error({ flag: name, problem }, 'an entry in redis cannot be read; the last good value of this flag stays in force'),
  });
  const kept = new KeptState(join(config.stateDirectory, 'snapshots', `${id}-store.json`), live, replicas, logger);
  const counter = new DecisionCounter({
    store,
    logger,
    isKnown: (name) => live.get(name) !== undefined,
    onCounted: (feature, { enabled, disabled }) => {
      metrics.decisions.inc({ feature, enabled: 'true' }, Number(enabled));
      metrics.decisions.inc({ feature, enabled: 'false' }, Number(disabled));
    },
  });
  const peers = new FlagPeers({ id, store, live, replicas });
  let onLoaded = async (): Promise<void> => undefined;
  const refresher = new SnapshotRefresher({
    ...{ store, live, logger, refreshMs: config.refreshMs, revisionCheckMs: config.revisionCheckMs },
    onStoreError: () => metrics.storeErrors.inc(),
    onLoaded: () => void onLoaded(),
    onPeerMessage: (text) => peers.receive(text),
  });
  const { acknowledgeWithinMs } = config;
  const writer = new FlagWriter({ store, live, refresher, replicas, peers, logger, acknowledgeWithinMs, onWrite: (kind) => metrics.writes.inc({ kind }) });
  const records = new RecordReader(live, logger);
  const keys = new KeyService({ live, writer, records, replicas });
  const spending = new SpendingService({ store: new RedisSpending(redis, config.redisPrefix), keys, replicas, peers, logger });
  const follow = (work: () => Promise<void>): void => void (onLoaded = work);
  return { id, store, replicas, live, records, kept, counter, peers, refresher, writer, keys, spending, follow };
}

function createFile(config: FlagsConfig, core: ReturnType<typeof createCore>, features: ReturnType<typeof createFeatures>, observability: SharedObservability, metrics: FlagsMetrics, logger: Logger) {
  return new FlagsFile({
    ...{ path: join(config.configDirectory, 'feature-flags.yaml'), store: core.store, live: core.live, writer: core.writer, segments: features.segments, logger },
    onTaken: (taken) => observability.use(taken.observability),
    onRefused: () => metrics.refusedFiles.inc(),
    onWrite: () => metrics.writes.inc({ kind: 'file' }),
  });
}

/** What operators can do. */
function createFeatures(config: FlagsConfig, core: ReturnType<typeof createCore>, logger: Logger) {
  const { id, store, live, records, writer, refresher, counter, replicas } = core;
  const rules = new ProductionRules(config.environment, config.approvalStep);
  const approvals = new ApprovalService(live, writer, records);
  const service = new FlagsService({ store, live, writer, counter, rules, approvals });
  const audit = new AuditService(store, live);
  const segments = new SegmentsService(live, writer, rules);
  const journal = new KillJournal(join(config.stateDirectory, 'journal', `${id}-kills.jsonl`), logger);
  const rollouts = new RolloutService({ live, writer, flags: service, rules, approvals, records });
  const judge = new RolloutJudge(replicas);
  const guard = createErrorRateGuard(config.qosAddress, config.rolloutMaxErrorRate);
  return {
    ...{ service, flags: service, approvals, audit, segments, rollouts, rules },
    kills: new KillService({ store, live, refresher, writer, journal, rules, logger }),
    history: new HistoryService(audit, service, rules),
    imports: new ImportService(live, service, segments),
    tokens: new TokenService(live, writer, records),
    impact: new ImpactService(live, replicas, writer),
    stale: new StaleService(store, live),
    driver: new RolloutDriver({ id, store, live, flags: service, rollouts, judge, tickMs: config.rolloutTickMs, guard: () => guard.check(), logger }),
    guard,
    judge,
  };
}
