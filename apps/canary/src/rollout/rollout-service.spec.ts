import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type CanaryComparison, CanaryComparisonSchema, StreamOutcome, StreamReportSchema } from '@mlx-serving/contracts';
import { canaryFile } from '@mlx-serving/policy';
import { silentLogger } from '@mlx-serving/service-kit';
import { createCanaryMetrics } from '../metrics.ts';
import { FakeRoutingStore } from '../routing/fake-routing-store.ts';
import { RoutingService } from '../routing/routing-service.ts';
import { StageGate } from '../webhooks/stage-gate.ts';
import { FakeRolloutStore } from './fake-rollout-store.ts';
import { statusOf } from './rollout-message.ts';
import { RolloutService } from './rollout-service.ts';
import { StateKeeper } from './state-keeper.ts';

const HOUR_MS = 3_600_000;
const file = (more: { triggers?: object[]; blastRadius?: number } = {}) =>
  canaryFile.parse({
    canary: { enabled: true, rolloutPercentage: 10, strategy: 'hash', hashKey: 'request_id', enableCache: true, cacheSize: 10 },
    rollback: { enabled: true, cooldownMs: 1_000, gradual: false, triggers: [{ name: 'high_error_rate', threshold: 2, severity: 'critical' }], ...more },
    monitoring: { enabled: true, intervalMs: 5_000, retentionHours: 1 },
  });

describe('RolloutService', () => {
  let store: FakeRolloutStore;
  let keeper: StateKeeper;
  let routing: RoutingService;
  let service: RolloutService;
  let nowMs: number;
  let gateways: number;
  let comparison: CanaryComparison;
  let count = 0;

  beforeEach(async () => {
    [nowMs, gateways, comparison] = [HOUR_MS, 1, create(CanaryComparisonSchema)];
    store = new FakeRolloutStore();
    routing = new RoutingService({ store: new FakeRoutingStore(), hasCanaryWorker: true, onTable: () => undefined, logger: silentLogger });
    keeper = new StateKeeper({ store, holder: 'canary-1', onActing: () => undefined, logger: silentLogger, leaseMs: 60_000 });
    const gate = new StageGate({ webhooks: () => [], now: () => nowMs, logger: silentLogger });
    const workers = () => ({ gone: false, slopes: [] });
    service = new RolloutService({ keeper, routing, gate, linkedGateways: () => gateways, workers, compare: () => comparison, metrics: createCanaryMetrics(), wallClock: () => nowMs, logger: silentLogger });
    await keeper.start();
    await service.configure(file());
  });
  afterEach(async () => {
    service.stop();
    routing.stop();
    await keeper.stop();
  });

  interface Traffic {
    readonly requests: number;
    /** Of ten requests so many are the canary's. Default: 1. */
    readonly canaryOfTen?: number;
    readonly fails?: (canary: boolean) => boolean;
  }

  function send({ requests, canaryOfTen = 1, fails = () => false }: Traffic): void {
    for (let index = 0; index < requests; index++) {
      const canary = count % 10 < canaryOfTen;
      const decision = { requestId: `r${count++}`, variant: canary ? 'canary' : 'baseline', variantReason: canary ? 'IN_CANARY_SHARE' : 'OUTSIDE_CANARY_SHARE', routingRevision: routing.table.revision };
      service.ingest(create(StreamReportSchema, { decision, workerId: canary ? 'c' : 'b', outcome: fails(canary) ? StreamOutcome.FAILED : StreamOutcome.OK, durationMs: 100 + ((count * 7_919) % 400), ttftMs: 10, usage: { completionTokens: 9 } }));
    }
  }
  const deploy = () => service.change((state) => ({ ...state, stages: [10, 50].map((percentage) => ({ percentage, holdMs: 0, gate: false })) }));
  const status = () => statusOf({ enabled: true, state: keeper.state, verdict: service.verdict, blind: service.blind, comparison: create(CanaryComparisonSchema, { baseline: { requests: 100n }, canary: { requests: 100n } }) });

  it('leaves a stage on evidence, and not while it is blind: without a gateway, without reports, or before the first one', async () => {
    await deploy();
    send({ requests: 9_000 });
    gateways = 0;
    await service.judge();
    expect([status(), service.blind]).toEqual(['frozen', 'no gateway is linked']);
    gateways = 1;
    nowMs += 60_000;
    await service.judge();
    expect([status(), service.blind, keeper.state.percentage]).toEqual(['frozen', 'no report for 60 s', 10]);
    await service.keep();
    const next = new RolloutService({ keeper, routing, gate: new StageGate({ webhooks: () => [], now: () => nowMs, logger: silentLogger }), linkedGateways: () => 1, workers: () => ({ gone: false, slopes: [] }), compare: () => comparison, metrics: createCanaryMetrics(), wallClock: () => nowMs, logger: silentLogger });
    await next.configure(file());
    await next.judge();
    expect([next.blind, keeper.state.percentage]).toEqual(['no report has come yet', 10]);
    next.stop();
    send({ requests: 1 });
    await service.judge();
    expect(keeper.state.percentage).toBe(50);
  });

  it('trusts no comparison while requests do not fall as the share says', async () => {
    await deploy();
    send({ requests: 9_000, canaryOfTen: 2 });
    await service.judge();
    expect([status(), keeper.state.percentage]).toEqual(['sample_ratio_mismatch', 10]);
  });

  it('stops when too many requests went wrong beyond what the baseline would have made of them, before the test is sure', async () => {
    await service.configure(file({ triggers: [{ name: 'high_error_rate', threshold: 2, severity: 'critical' }], blastRadius: 10 }));
    // Of eleven requests of the baseline one fails, and of thirty-one of the canary's four.
    const fails = (canary: boolean) => (canary ? ++canaryCount % 31 < 4 : ++baselineCount % 11 === 0);
    let [canaryCount, baselineCount] = [0, 0];
    for (let batch = 0; batch < 400 && keeper.state.phase === 'running'; batch++) {
      send({ requests: 50, fails });
      await service.judge();
    }
    expect(service.verdict?.findings.map(({ fired }) => fired)).toEqual([false]);
    expect(keeper.state).toMatchObject({ phase: 'rolled_back', reason: 'blast_radius', percentage: 0 });
  });

  it('takes the share to 0 on the gateways though the store is silent', async () => {
    let answer: () => void = () => undefined;
    store.commit = async () => {
      await new Promise<void>((resolve) => (answer = resolve));
      return true;
    };
    const done = service.rollBack('high_latency', { gradual: false, actor: 'controller' });
    expect(routing.table.rolloutPercentage).toBe(0);
    await Promise.resolve();
    while (keeper.state.phase !== 'rolled_back') await Promise.resolve();
    answer();
    const settling = setInterval(() => answer(), 1);
    expect(await done).toBe(true);
    clearInterval(settling);
  });

  it('writes down when the bare ratios begin to want a rollback, and how often they did', async () => {
    const bad = create(CanaryComparisonSchema, { baseline: { requests: 100n, errorRate: 0.01, latencyP95Ms: 100 }, canary: { requests: 10n, errorRate: 0.1, latencyP95Ms: 100 } });
    const look = async (shown: CanaryComparison): Promise<void> => {
      comparison = shown;
      nowMs += 5_000;
      await service.look();
    };
    for (let index = 0; index < 3; index++) await look(bad);
    for (let index = 0; index < 5; index++) await look(create(CanaryComparisonSchema));
    await look(bad);
    expect(keeper.state.counterfactual).toMatchObject({ rollbacks: 4, firstAtMs: HOUR_MS + 5_000, log: [{ atMs: HOUR_MS + 5_000, reason: 'error rate 10.00 % against 1.00 %', percentage: 10 }, { atMs: HOUR_MS + 45_000 }] });
    expect(keeper.state.phase).toBe('running');
  });
});
