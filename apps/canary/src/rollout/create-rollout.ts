import type { CanaryComparison, CanaryRollout } from '@mlx-serving/contracts';
import type { Logger } from '@mlx-serving/service-kit';
import type { ComparisonService } from '../comparison/comparison-service.ts';
import type { ControlHandlerOptions } from '../control/control-handler.ts';
import { ControlService } from '../control/control-service.ts';
import type { Gateways } from '../link/link-handler.ts';
import type { CanaryMetrics } from '../metrics.ts';
import type { RoutingService } from '../routing/routing-service.ts';
import { StageGate } from '../webhooks/stage-gate.ts';
import { CanaryWorkers } from '../workers/canary-workers.ts';
import { countsUsers } from './evidence-options.ts';
import { SoonVerdict } from './soon-verdict.ts';
import { rolloutMessage, statusOf } from './rollout-message.ts';
import { RolloutService } from './rollout-service.ts';
import type { RolloutStore } from './rollout-store.ts';
import { StateKeeper } from './state-keeper.ts';

export interface RolloutFeatureOptions {
  readonly store: RolloutStore;
  readonly holder: string;
  /** The canary's workers that are configured, `host:port`. */
  readonly addresses: readonly string[];
  readonly routing: RoutingService;
  readonly comparison: ComparisonService;
  readonly gateways: Gateways;
  readonly metrics: CanaryMetrics;
  /** The clock in milliseconds, which never goes back. */
  readonly now: () => number;
  readonly logger: Logger;
}

export interface RolloutFeature {
  readonly keeper: StateKeeper;
  readonly service: RolloutService;
  readonly hasCanaryWorker: () => boolean;
  readonly doors: ControlHandlerOptions & { readonly isActing: () => boolean; readonly onBatch: () => void; readonly onCanaryWorkers: CanaryWorkers['heard'] };
  readonly status: (comparison: Pick<CanaryComparison, 'baseline' | 'canary'>) => string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Everything of a rollout, put together. Configure the service before the start. */
export function createRolloutFeature({ store, holder, addresses, routing, comparison, gateways, metrics, now, logger }: RolloutFeatureOptions): RolloutFeature {
  const wallClock = Date.now;
  const gate = new StageGate({ webhooks: () => service.file.webhooks, now, logger });
  const keeper: StateKeeper = new StateKeeper({
    store,
    holder,
    logger,
    onActing: (acting) => {
      metrics.acting.set(acting ? 1 : 0);
      if (acting) void service.takeOver().catch((error: unknown) => logger.error({ err: error }, 'the rollout could not be taken up'));
      else gateways.close();
    },
  });
  const workers: CanaryWorkers = new CanaryWorkers({ addresses, now, sampleEveryMs: () => 2 * service.file.monitoring.intervalMs, logger, onExit: (address) => service.workerExited(address), onChange: () => judge() });
  const compare = (): CanaryComparison => comparison.compare();
  const service: RolloutService = new RolloutService({ keeper, routing, gate, linkedGateways: () => gateways.ids.length, workers: () => workers.facts, compare, metrics, wallClock, logger });
  const judge = (): void => void service.judge().catch((error: unknown) => logger.error({ err: error }, 'a verdict failed'));
  const soon = new SoonVerdict(judge, now);
  const status = (summaries: Pick<CanaryComparison, 'baseline' | 'canary'>) =>
    statusOf({ enabled: routing.disabledReason === undefined, known: keeper.known, state: keeper.state, verdict: service.verdict, blind: service.blind, comparison: summaries });
  const rollout = (): CanaryRollout => rolloutMessage(keeper.state, service, status(comparison.compare()), keeper.acting);
  const control = new ControlService({ keeper, rollout: service, gate, disabledReason: () => routing.disabledReason, metrics, wallClock });
  const plan = { compare, requestsPerSecond: () => comparison.requestsPerSecond, latencySigma: () => comparison.latencySigma, countsUsers: () => countsUsers(service.settings), blockMs: () => service.file.monitoring.intervalMs };
  return {
    keeper,
    service,
    hasCanaryWorker: () => workers.any,
    status,
    doors: { control, plan, rollout, isActing: () => keeper.acting, onBatch: () => soon.ask(), onCanaryWorkers: (gateway, addresses) => workers.heard(gateway, addresses) },
    start: async () => {
      await keeper.start();
      await service.configure(service.file);
      workers.start();
    },
    stop: async () => {
      workers.stop();
      soon.stop();
      service.stop();
      await service.keep();
      await keeper.stop();
    },
  };
}
