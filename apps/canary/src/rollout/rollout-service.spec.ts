import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type CanaryComparison, CanaryComparisonSchema, StreamOutcome, StreamReportSchema } from '@mlx-serving/contracts';
import { canaryFile } from '@mlx-serving/policy';
import { silentLogger } from '@mlx-serving/service-kit';
import { type CanaryMetrics, createCanaryMetrics } from '../metrics.ts';
import { FakeRoutingStore } from '../routing/fake-routing-store.ts';
import { RoutingService } from '../routing/routing-service.ts';
import { StageGate } from '../webhooks/stage-gate.ts';
import { FakeRolloutStore } from './fake-rollout-store.ts';
import { statusOf } from './rollout-message.ts';
import { RolloutService } from './rollout-service.ts';
import { advanced } from './rollout-state.ts';
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
  let metrics: CanaryMetrics;
  let told: string[];
  let allows: boolean;
  let onTakeOver: () => void;
  let count = 0;

  beforeEach(async () => {
    [nowMs, gateways, comparison] = [HOUR_MS, 1, create(CanaryComparisonSchema)];
    store = new FakeRolloutStore();
    routing = new RoutingService({ store: new FakeRoutingStore(), hasCanaryWorker: () => true, onTable: () => undefined, logger: silentLogger });
    onTakeOver = () => undefined;
    keeper = new StateKeeper({ store, holder: 'canary-1', onActing: () => onTakeOver(), logger: silentLogger, leaseMs: 60_000 });
    const gate = new StageGate({ webhooks: () => [], now: () => nowMs, logger: silentLogger });
    [metrics, told] = [createCanaryMetrics(), []];
    allows = true;
    gate.allows = async () => allows;
    gate.tell = (event) => void told.push(event);
    const workers = () => ({ gone: false, slopes: [] });
    service = new RolloutService({ keeper, routing, gate, linkedGateways: () => gateways, workers, compare: () => comparison, metrics, wallClock: () => nowMs, logger: silentLogger });
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
  const status = () => statusOf({ enabled: true, known: true, state: keeper.state, verdict: service.verdict, blind: service.blind, comparison: create(CanaryComparisonSchema, { baseline: { requests: 100n }, canary: { requests: 100n } }) });

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
    await service.judge();
    expect(told.filter((event) => event === 'sample_ratio_mismatch')).toHaveLength(1);
    expect(await metrics.registry.metrics()).toContain('mlx_serving_canary_sample_ratio_mismatch 1');
    await service.change((state) => ({ ...state, stageSinceMs: nowMs + 1, stageRevision: '', evidence: null }));
    expect(await metrics.registry.metrics()).toContain('mlx_serving_canary_sample_ratio_mismatch 0');
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

  it('has one blast radius for all stages', async () => {
    await service.configure(file({ triggers: [], blastRadius: 60 }));
    await deploy();
    const failFifty = async (): Promise<void> => {
      send({ requests: 500, canaryOfTen: 1, fails: (canary) => canary && ++failed > 10 });
      await service.judge();
    };
    let failed = 0;
    await failFifty();
    expect([keeper.state.phase, keeper.state.percentage]).toEqual(['running', 10]);
    await service.change((state) => advanced(state, { nowMs, actor: 'someone', reason: 'promote' }));
    expect(keeper.state.percentage).toBe(50);
    send({ requests: 120, canaryOfTen: 5, fails: (canary) => canary && ++failed % 2 === 0 });
    await service.judge();
    expect(keeper.state).toMatchObject({ phase: 'rolled_back', reason: 'blast_radius' });
  });

  it('goes on looking while it goes back by steps, and ends at once when the canary fails', async () => {
    await service.change((state) => ({ ...state, percentage: 50, stages: [{ percentage: 50, holdMs: 0, gate: false }] }));
    await service.rollBack('memory_leak', { gradual: true, actor: 'controller' });
    expect(keeper.state).toMatchObject({ phase: 'rolling_back', percentage: 10, reason: 'memory_leak' });
    send({ requests: 90 });
    await service.judge();
    expect(keeper.state.percentage).toBe(10);
    send({ requests: 300, fails: (canary) => canary });
    await service.judge();
    expect(keeper.state).toMatchObject({ phase: 'rolled_back', percentage: 0, reason: 'high_error_rate' });
    expect(routing.table.rolloutPercentage).toBe(0);
  });

  it('goes back by steps on time while the canary is as it was', async () => {
    await service.change((state) => ({ ...state, percentage: 50 }));
    await service.rollBack('manual', { gradual: true, actor: 'someone' });
    for (const [percentage, phase] of [[5, 'rolling_back'], [0, 'rolled_back']] as const) {
      nowMs += 30_000;
      await service.judge();
      expect(keeper.state).toMatchObject({ percentage, phase, reason: 'manual' });
    }
  });

  it('repeats nothing at the canary while it has a share', async () => {
    const shadowed = file();
    shadowed.canary.shadow = { percentage: 30, maxConcurrent: 2 };
    await service.configure(shadowed);
    expect(routing.table).toMatchObject({ rolloutPercentage: 10, shadowPercentage: 0 });
    await service.rollBack('manual', { gradual: false, actor: 'someone' });
    expect(routing.table).toMatchObject({ rolloutPercentage: 0, shadowPercentage: 30, shadowConcurrency: 2 });
  });

  it('lets a greater share of the file wait for the cooldown, and for who is asked before', async () => {
    await service.rollBack('manual', { gradual: false, actor: 'someone' });
    const fileAt = (rolloutPercentage: number, hashKey = 'request_id') => ({ ...file(), canary: { ...file().canary, rolloutPercentage, hashKey } });
    await service.configure(fileAt(20, 'user_id'));
    expect([keeper.state.phase, routing.table.rolloutPercentage, routing.table.hashKey, service.waiting]).toEqual(['rolled_back', 0, 'request_id', 'the share in config/canary.yaml waits for the end of the cooldown']);
    nowMs += 1_000;
    allows = false;
    await service.look();
    expect([routing.table.rolloutPercentage, service.waiting]).toEqual([0, 'a webhook refuses the share in config/canary.yaml']);
    allows = true;
    await service.look();
    expect([keeper.state.phase, routing.table.rolloutPercentage, routing.table.hashKey, service.waiting]).toEqual(['running', 20, 'user_id', undefined]);
    allows = false;
    await service.configure(fileAt(5, 'user_id'));
    expect([routing.table.rolloutPercentage, service.waiting]).toEqual([5, undefined]);
  });

  it('goes on from the evidence of the process whose state it takes over', async () => {
    send({ requests: 100 });
    await service.keep();
    const other = new StateKeeper({ store, holder: 'canary-2', onActing: () => undefined, logger: silentLogger, leaseMs: 60_000 });
    store.holder = undefined;
    await other.start();
    await other.change((state) => ({ ...state, evidence: state.evidence && { ...state.evidence, requests: { canary: 777, baseline: 7_000 } } }));
    await other.stop();
    send({ requests: 10 });
    const taken = new Promise<void>((resolve) => (onTakeOver = () => void service.takeOver().then(resolve)));
    await service.keep();
    await taken;
    expect(service.evidence?.requests).toEqual({ canary: 777, baseline: 7_000 });
    expect((await store.load())?.evidence?.requests).toEqual({ canary: 777, baseline: 7_000 });
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
