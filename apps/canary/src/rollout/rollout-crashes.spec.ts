import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CanaryComparisonSchema, CanaryControlRequestSchema, StreamOutcome, type StreamReport, StreamReportSchema } from '@mlx-serving/contracts';
import { canaryFile } from '@mlx-serving/policy';
import { silentLogger } from '@mlx-serving/service-kit';
import { SuiteRedis } from '@mlx-serving/testing';
import { ControlService } from '../control/control-service.ts';
import { createCanaryMetrics } from '../metrics.ts';
import { type Redis, RedisRoutingStore } from '../routing/redis-routing-store.ts';
import { RoutingService } from '../routing/routing-service.ts';
import { StageGate } from '../webhooks/stage-gate.ts';
import { RedisRolloutStore } from './redis-rollout-store.ts';
import { RolloutService } from './rollout-service.ts';
import type { RolloutStore } from './rollout-store.ts';
import { StateKeeper } from './state-keeper.ts';

const file = canaryFile.parse({
  canary: { enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'request_id', enableCache: true, cacheSize: 10 },
  rollback: { enabled: true, cooldownMs: 1_000, gradual: false, triggers: [{ name: 'high_error_rate', threshold: 2, severity: 'critical' }] },
  monitoring: { enabled: true, intervalMs: 100, retentionHours: 1 },
});

/** Counts what a process asks of Redis, and ends it at one of these: before it takes effect, or after it and before the answer. */
class Fuse {
  asked = 0;
  readonly died: Promise<void>;
  #die: () => void = () => undefined;
  readonly #at: number;
  readonly #takesEffect: boolean;

  constructor(at = Number.POSITIVE_INFINITY, takesEffect = false) {
    this.#at = at;
    this.#takesEffect = takesEffect;
    this.died = new Promise((resolve) => (this.#die = resolve));
  }

  async ask<T>(operation: () => Promise<T>): Promise<T> {
    if (++this.asked < this.#at) return operation();
    if (this.asked === this.#at && this.#takesEffect) await operation();
    this.#die();
    return new Promise(() => undefined);
  }
}

function startService(redis: Redis, prefix: string, fuse: Fuse) {
  const [rollouts, revisions] = [new RedisRolloutStore(redis, prefix), new RedisRoutingStore(redis, prefix)];
  const store: RolloutStore = {
    load: () => fuse.ask(() => rollouts.load()),
    commit: (holder, state, follows) => fuse.ask(() => rollouts.commit(holder, state, follows)),
    lower: (state, follows) => fuse.ask(() => rollouts.lower(state, follows)),
    acquire: (holder, ttlMs) => fuse.ask(() => rollouts.acquire(holder, ttlMs)),
    release: (holder) => rollouts.release(holder),
  };
  const metrics = createCanaryMetrics();
  const wallClock = (): number => nowMs;
  const routing = new RoutingService({ store: { settle: (fingerprint, atLeast) => fuse.ask(() => revisions.settle(fingerprint, atLeast)) }, hasCanaryWorker: () => true, onTable: () => undefined, logger: silentLogger });
  const keeper = new StateKeeper({ store, holder: 'canary-1', onActing: () => undefined, logger: silentLogger, leaseMs: 60_000 });
  const gate = new StageGate({ webhooks: () => [], now: Date.now, logger: silentLogger });
  const workers = () => ({ gone: false, slopes: [] });
  const service = new RolloutService({ keeper, routing, gate, linkedGateways: () => 1, workers, compare: () => create(CanaryComparisonSchema), metrics, wallClock, logger: silentLogger });
  const control = new ControlService({ keeper, rollout: service, gate, disabledReason: () => undefined, metrics, wallClock });
  return { keeper, routing, service, control };
}

let count = 0;
let nowMs = 1_000_000;

function report(routingRevision: bigint, share: number): StreamReport {
  const canary = ++count % 10 < share / 10;
  const decision = { requestId: `r${count}`, variant: canary ? 'canary' : 'baseline', variantReason: canary ? 'IN_CANARY_SHARE' : 'OUTSIDE_CANARY_SHARE', routingRevision };
  return create(StreamReportSchema, { decision, workerId: 'w', outcome: StreamOutcome.OK, durationMs: 100 + ((count * 7_919) % 401) });
}

type Service = ReturnType<typeof startService>;
type Action = NonNullable<MessageInitShape<typeof CanaryControlRequestSchema>['action']>;

/** What a person asks for, each by its key, so that it may be asked for again. */
async function ask({ control }: Service, idempotencyKey: string, action: Action): Promise<void> {
  await control.control(create(CanaryControlRequestSchema, { idempotencyKey, action }));
}

function send({ service, routing }: Service, share: number): void {
  for (let each = 0; each < 600; each++) service.ingest(report(routing.table.revision, share));
}

/** A rollout by stages that is paused, resumed, left on evidence, promoted by hand and goes back by steps. Doing it again goes on where it was. */
async function run(killed: Service): Promise<void> {
  const { keeper, service } = killed;
  await keeper.start();
  await service.configure(file);
  await ask(killed, 'deploy', { case: 'deploy', value: { stages: [20, 40, 60, 80].map((percentage) => ({ percentage, gate: percentage > 20 })) } });
  await ask(killed, 'pause', { case: 'pause', value: {} });
  send(killed, 20);
  await service.keep();
  await ask(killed, 'resume', { case: 'resume', value: {} });
  while (keeper.state.phase === 'running' && keeper.state.stage === 0) {
    send(killed, 20);
    await service.keep();
    await service.judge();
  }
  await ask(killed, 'promote', { case: 'promote', value: {} });
  if (keeper.state.phase === 'running') send(killed, 60);
  await service.keep();
  await ask(killed, 'back', { case: 'rollback', value: { gradual: true } });
  while (keeper.state.phase === 'rolling_back') {
    nowMs += 30_000;
    await service.judge();
  }
}

const WHOLE = ['started', 'started', 'paused', 'resumed', 'stage', 'stage', 'rolling_back', 'rolling_back', 'rolled_back'];

/** Points at random, the same in each run. */
function pointsOf(count: number): { at: number; takesEffect: boolean }[] {
  let seed = 20_261;
  const next = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  return Array.from({ length: count }, () => ({ at: 1 + Math.floor(next() * OPERATIONS), takesEffect: next() < 0.5 }));
}
/** Of an undisturbed run, as the first test says; a slow one keeps its evidence more often. */
const OPERATIONS = 30;

describe('a service that is killed at any point, on a real Redis', () => {
  const redis = new SuiteRedis({ beforeAll, afterAll });

  it(`asks Redis at least ${OPERATIONS} times when nothing disturbs it`, async () => {
    const fuse = new Fuse();
    const whole = startService(redis.client, 'whole:', fuse);
    await run(whole);
    whole.service.stop();
    await whole.keeper.stop();
    expect(fuse.asked).toBeGreaterThanOrEqual(OPERATIONS);
    expect(whole.keeper.state.history.map(({ event }) => event)).toEqual(WHOLE);
  });

  it.each(pointsOf(100))('goes on where it was, and does every step once (at operation $at, which takes effect: $takesEffect)', async ({ at, takesEffect }) => {
    const prefix = `killed-${++count}:`;
    const fuse = new Fuse(at, takesEffect);
    const first = startService(redis.client, prefix, fuse);
    await Promise.race([run(first), fuse.died]);
    first.service.stop();
    first.routing.stop();
    void first.keeper.stop();
    const kept = await new RedisRolloutStore(redis.client, prefix).load();
    const revision = JSON.parse((await redis.client.get(`${prefix}canary:routing`)) ?? '{"revision":0}') as { revision: number };
    const second = startService(redis.client, prefix, new Fuse());
    await second.keeper.start();
    await second.service.configure(file);
    if (kept) {
      const { id, history, phase, stage, percentage, cooldownUntilMs } = kept;
      expect(second.keeper.state).toMatchObject({ id, history, phase, stage, percentage, cooldownUntilMs });
      if (kept.evidence) expect(second.service.evidence?.keep()).toEqual(kept.evidence);
    }
    await run(second);
    expect(second.keeper.state.history.map(({ event }) => event)).toEqual(WHOLE);
    expect(second.routing.table.rolloutPercentage).toBe(0);
    expect(Number(second.routing.table.revision)).toBeGreaterThanOrEqual(revision.revision);
    second.service.stop();
    await second.keeper.stop();
  });
});
