import { join } from 'node:path';
import { ApiKeySetSchema, Canary, createServiceClient, Flags, FlagSnapshotSchema, type ImpactQuestion, Qos, RoutingTableSchema, type StreamReport } from '@mlx-serving/contracts';
import { type RuntimeFile, runtimeFile } from '@mlx-serving/policy';
import { type App, assertBindable, closeHttpServer, ConfigFile, isLoopback, listen, type Logger, OperationsServer } from '@mlx-serving/service-kit';
import { AcceleratorService } from './accelerator/accelerator-service.ts';
import { createAdmission } from './admission/create-admission.ts';
import { type GatewayConfig, replicaIdOf } from './config.ts';
import { DecisionCounter } from './decision/decision-counts.ts';
import { encodeSnapshot } from './decision/encode-snapshot.ts';
import { FlagSnapshotStore } from './decision/flag-snapshot-store.ts';
import { RoutingStore } from './decision/routing-store.ts';
import { StateFile } from './decision/state-file.ts';
import { ExplainService } from './explain/explain-service.ts';
import { GenerateService } from './generation/generate-service.ts';
import { createHealth } from './health.ts';
import { previewImpact } from './impact/preview-impact.ts';
import { RecentContexts } from './impact/recent-contexts.ts';
import { ControllerLinks } from './links/controller-links.ts';
import { createGatewayMetrics, type GatewayMetrics } from './metrics.ts';
import type { SiblingProcess } from './processes/sibling-process.ts';
import { Tenants } from './tenants/tenants.ts';
import { ModelService } from './models/model-service.ts';
import { createGrpcServer, createHttpServer } from './server.ts';
import { FlagTelemetry } from './telemetry/flag-telemetry.ts';
import { RequestTraces } from './telemetry/request-traces.ts';
import { createPools } from './workers/worker-pool.ts';

export interface GatewayApp extends App {
  /** The ports it listens on, which matters when 0 was asked for. All are 0 before the start. */
  readonly ports: { http: number; grpc: number; operations: number };
}

/** What a stop takes besides the grace of running requests, at most. */
const STOP_SLACK_MS = 5_000;

/**
 * Composes the gateway, or one process of it.
 * @param sibling where this is one of several processes, whose metrics and health another one shows
 * @throws StartupError or ConfigError when it cannot run with this configuration
 */
export async function createApp(config: Omit<GatewayConfig, 'processes'>, logger: Logger, sibling?: SiblingProcess): Promise<GatewayApp> {
  assertBindable(config.host, config.trustedNetwork);
  const metrics = createGatewayMetrics();
  const runtime = createRuntimeFile(config, metrics, logger, (value) => control.configure(value.governor.max_concurrent_streams));
  await runtime.load();
  const state = { ...createState(config, logger, (flags) => service.abortUnder(flags)), telemetry: new FlagTelemetry(metrics, logger), traces: new RequestTraces() };
  const { admission, control } = createAdmission(() => runtime.value.governor, metrics, () => state.flags.flags.evaluate('adaptive_governor', { key: state.replicaId }).enabled);
  const pools = createPools(config, { settings: () => runtime.value, control, metrics, logger });
  const required = config.keys === 'required' || (config.keys === 'auto' && !isLoopback(config.host));
  const keys = new Tenants({ replicaId: state.replicaId, required, file: state.keysFile, routing: () => runtime.value.routing });
  const clients = createClients(config);
  const links = new ControllerLinks({ ...state, control, keys, clients, canaryWorkers: () => pools.canary.members.map(({ worker }) => worker.address), metrics, logger });
  const onReport = (report: StreamReport, flagKey: string): void => {
    control.onSample(report);
    links.report(report, flagKey);
  };
  const limits = (): RuntimeFile['requests'] => runtime.value.requests;
  const service = new GenerateService({ ...state, admission, control, pools, requestLimits: limits, failure: () => runtime.value.failure, onReport, onShadowReport: (report) => links.reportShadow(report), metrics, logger });
  const health = createHealth({ ...state, pools, stopping: () => service.stopping, links: () => links.up });
  const explain = new ExplainService({ ...state, pools, tokenFile: config.operatorTokenFile || join(config.stateDirectory, 'admin-token'), client: clients.flags });
  const doors = { ...state, pools, joinToken: config.joinToken, service, models: new ModelService(pools), accelerator: new AcceleratorService(pools), limits, readCaller: keys.readCaller, cors: () => runtime.value.cors, explain, hasCanaryWorker: () => pools.canary.size > 0, health, metrics, logger, ...(sibling ? { onLease: sibling.tell.bind(sibling) } : {}) };
  const http = createHttpServer(doors);
  const grpc = createGrpcServer(doors);
  const operations = sibling ? undefined : new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  const stopLimitMs = (): number => runtime.value.failure.drain_grace_ms + STOP_SLACK_MS;
  const ports = { http: 0, grpc: 0, operations: 0 };
  return {
    ports,
    start: async () => {
      await links.loadKept();
      sibling?.connect({ pools, metrics, health });
      ports.operations = (await operations?.start()) ?? 0;
      ports.http = await listen(http, config.host, config.httpPort);
      ports.grpc = await grpc.start(config.host, config.grpcPort);
      pools.baseline.start();
      pools.canary.start();
      links.start();
      runtime.watch();
      sibling?.started(stopLimitMs());
    },
    reload: () => runtime.reload(),
    stopLimitMs,
    stop: async () => {
      runtime.stop();
      const grace = runtime.value.failure.drain_grace_ms;
      grpc.leave();
      const closed = closeHttpServer(http, grace + 1_000);
      await service.drain(grace);
      await grpc.stop();
      await closed;
      await links.stop();
      pools.baseline.stop();
      pools.canary.stop();
      control.stop();
      await operations?.stop();
    },
  };
}

function createRuntimeFile(config: Pick<GatewayConfig, 'configDirectory'>, metrics: GatewayMetrics, logger: Logger, onChange: (value: RuntimeFile) => void) {
  return new ConfigFile({
    path: join(config.configDirectory, 'runtime.yaml'),
    schema: runtimeFile,
    logger,
    onChange,
    onRefused: () => metrics.refusedConfigurations.inc(),
  });
}

/** What the gateway knows, and where it keeps it. */
function createState(config: Omit<GatewayConfig, 'processes'>, logger: Logger, onAbort: (flags: ReadonlySet<string>) => void) {
  const replicaId = replicaIdOf(config);
  const path = (kind: string): string => join(config.stateDirectory, 'snapshots', `${replicaId}-${kind}.json`);
  const flags = new FlagSnapshotStore(logger, { environment: config.environment, onAbort });
  const contexts = new RecentContexts();
  return {
    replicaId,
    flags,
    contexts,
    preview: (question: ImpactQuestion) => previewImpact(question, flags, contexts, config.environment),
    flagsFile: new StateFile(FlagSnapshotSchema, path('flags'), logger, encodeSnapshot),
    keysFile: new StateFile(ApiKeySetSchema, path('api-keys'), logger),
    routing: new RoutingStore(),
    routingFile: new StateFile(RoutingTableSchema, path('routing'), logger),
    counts: new DecisionCounter(),
  };
}

function createClients(config: Pick<GatewayConfig, 'flagsAddress' | 'qosAddress' | 'canaryAddress'>) {
  return {
    flags: createServiceClient(Flags, config.flagsAddress),
    qos: createServiceClient(Qos, config.qosAddress),
    canary: createServiceClient(Canary, config.canaryAddress),
  };
}
