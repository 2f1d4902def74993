import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { CanaryComparisonSchema, StreamOutcome, type StreamReport, StreamReportSchema } from '@mlx-serving/contracts';
import { canaryFile } from '@mlx-serving/policy';
import { silentLogger } from '@mlx-serving/service-kit';
import { createCanaryMetrics } from '../metrics.ts';
import { FakeRoutingStore } from '../routing/fake-routing-store.ts';
import { RoutingService } from '../routing/routing-service.ts';
import { StageGate } from '../webhooks/stage-gate.ts';
import { FakeRolloutStore } from './fake-rollout-store.ts';
import { RolloutService } from './rollout-service.ts';
import type { RolloutState } from './rollout-state.ts';
import { StateKeeper } from './state-keeper.ts';

const file = canaryFile.parse({
  canary: { enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'request_id', enableCache: true, cacheSize: 10 },
  rollback: { enabled: true, cooldownMs: 1_000, gradual: false, triggers: [{ name: 'high_error_rate', threshold: 2, severity: 'critical' }] },
  monitoring: { enabled: true, intervalMs: 100, retentionHours: 1 },
});

/** A store whose process dies at its n-th operation: before it takes effect, or after it and before the answer. */
class DyingStore extends FakeRolloutStore {
  left = Number.POSITIVE_INFINITY;
  answers = true;
  onDeath: () => void = () => undefined;

  override async commit(holder: string, state: RolloutState, follows: number): Promise<boolean> {
    if (--this.left > 0) return super.commit(holder, state, follows);
    if (!this.answers) await super.commit(holder, state, follows);
    this.onDeath();
    return new Promise(() => undefined);
  }
}

function startService(store: DyingStore, routingStore: FakeRoutingStore) {
  const metrics = createCanaryMetrics();
  const routing = new RoutingService({ store: routingStore, hasCanaryWorker: true, onTable: () => undefined, logger: silentLogger });
  const keeper = new StateKeeper({ store, holder: 'canary-1', onActing: () => undefined, logger: silentLogger, leaseMs: 60_000 });
  const gate = new StageGate({ webhooks: () => [], now: Date.now, logger: silentLogger });
  const workers = () => ({ gone: false, slopes: [] });
  const service = new RolloutService({ keeper, routing, gate, linkedGateways: () => 1, workers, compare: () => create(CanaryComparisonSchema), metrics, wallClock: Date.now, logger: silentLogger });
  return { keeper, routing, service };
}

let count = 0;

function report(routingRevision: bigint, fails: boolean): StreamReport {
  const canary = ++count % 2 === 0;
  const decision = { requestId: `r${count}`, variant: canary ? 'canary' : 'baseline', variantReason: canary ? 'IN_CANARY_SHARE' : 'OUTSIDE_CANARY_SHARE', routingRevision };
  return create(StreamReportSchema, { decision, workerId: 'w', outcome: canary && fails ? StreamOutcome.FAILED : StreamOutcome.OK, durationMs: 100 });
}

describe('a service that is killed at any point', () => {
  it.each(Array.from({ length: 100 }, (_, point) => [point]))('goes on where it was, and rolls back once (point %i)', async (point) => {
    const [store, routingStore] = [new DyingStore(), new FakeRoutingStore()];
    store.left = 1 + Math.floor(point / 2) % 12;
    store.answers = point % 2 === 0;
    const died = new Promise<void>((resolve) => (store.onDeath = resolve));
    const run = async (instance: ReturnType<typeof startService>): Promise<void> => {
      await instance.keeper.start();
      await instance.service.configure(file);
      for (let batch = 0; batch < 8; batch++) {
        // Four batches are as good as the baseline's, then the canary fails.
        for (let each = 0; each < 10; each++) instance.service.ingest(report(instance.routing.table.revision, batch >= 4));
        await instance.service.keep();
        await instance.service.judge();
      }
    };
    const first = startService(store, routingStore);
    await Promise.race([run(first), died]);
    first.service.stop();
    const kept = await store.load();
    store.left = Number.POSITIVE_INFINITY;
    const second = startService(store, routingStore);
    await second.keeper.start();
    await second.service.configure(file);
    if (kept) {
      expect({ id: second.keeper.state.id, history: second.keeper.state.history, phase: second.keeper.state.phase }).toEqual({ id: kept.id, history: kept.history, phase: kept.phase });
      if (kept.evidence) expect(second.service.evidence?.keep()).toEqual(kept.evidence);
    }
    if (second.keeper.state.phase === 'running') await run(second);
    expect(second.keeper.state.history.filter(({ event }) => event === 'rolled_back')).toHaveLength(1);
    expect(second.routing.table.rolloutPercentage).toBe(0);
    second.service.stop();
    await second.keeper.stop();
    await Promise.race([first.keeper.stop(), Promise.resolve()]);
  });
});
