import { describe, expect, it } from '@jest/globals';
import { RollbackController, type RollbackControllerOptions } from './canary-rollback-controller.ts';
import { CanaryRouter } from './canary-router.ts';

const options = { enabled: true, rolloutPercentage: 10, strategy: 'hash', hashKey: 'user_id', enableCache: true, cacheSize: 3 } as const;
const users = Array.from({ length: 2_000 }, (_, index) => `user-${index}`);

describe('CanaryRouter', () => {
  it('sends about its share to the canary, each user always the same way', () => {
    const router = new CanaryRouter(options);
    const first = users.map((user) => router.route(user).variant);
    expect(users.map((user) => router.route(user).variant)).toEqual(first);
    expect(router.getStats()).toMatchObject({ totalRequests: 4_000, targetPercentage: 10 });
    expect(router.getStats().actualPercentage).toBeGreaterThan(7);
    expect(router.getStats().actualPercentage).toBeLessThan(13);
  });

  it('moves nobody back when the share grows', () => {
    const router = new CanaryRouter(options);
    const before = users.filter((user) => router.route(user).variant === 'canary');
    router.setPercentage(40);
    expect(before.every((user) => router.route(user).variant === 'canary')).toBe(true);
    router.setPercentage(0);
    expect(users.every((user) => router.route(user).variant === 'baseline')).toBe(true);
  });

  it('remembers the last decisions, as many as it may', () => {
    const router = new CanaryRouter(options);
    for (const user of ['a', 'b', 'c', 'a', 'd']) router.route(user);
    expect(['a', 'b'].map((user) => router.route(user).cached)).toEqual([true, false]);
    expect(router.getStats()).toMatchObject({ cacheSize: 3, cacheHitRate: 2 / 7 });
    expect(new CanaryRouter({ ...options, enableCache: false }).route('a').cached).toBe(false);
  });

  it('sends everybody to the baseline while it is disabled', () => {
    const router = new CanaryRouter({ ...options, enabled: false, rolloutPercentage: 100 });
    expect(router.route('a').variant).toBe('baseline');
    expect(router.getStats().targetPercentage).toBe(0);
  });
});

describe('RollbackController', () => {
  const triggers = [
    { name: 'high_error_rate', threshold: 2, severity: 'critical' },
    { name: 'high_latency', threshold: 1.5, severity: 'warning' },
  ] as const;
  const controller = (more: Partial<RollbackControllerOptions> = {}) => new RollbackController({ enabled: true, cooldownMs: 1_000, gradual: false, triggers, percentage: 50, ...more });

  it('compares rates with the thresholds when it has nothing else', async () => {
    const rates = { canaryErrorRate: 0.05, baselineErrorRate: 0.01, canaryLatency: 450, baselineLatency: 280 };
    expect(await controller().shouldRollback(rates)).toEqual({ reason: 'high_error_rate', severity: 'critical' });
    expect(await controller().shouldRollback({ ...rates, canaryErrorRate: 0 })).toEqual({ reason: 'high_latency', severity: 'warning' });
    expect(await controller({ enabled: false }).shouldRollback(rates)).toBeNull();
  });

  it('wants evidence when it sees the requests', async () => {
    const found = controller();
    const observe = (times: number, failed: boolean): void => {
      for (let index = 0; index < times; index++) for (const variant of ['baseline', 'canary'] as const) found.observe({ variant, failed: failed && variant === 'canary', latencyMs: 100 + (index % 50) });
    };
    observe(100, false);
    found.observe({ variant: 'canary', failed: true, latencyMs: 1 });
    expect(await found.shouldRollback()).toBeNull();
    observe(30, true);
    expect(await found.shouldRollback()).toEqual({ reason: 'high_error_rate', severity: 'critical' });
  });

  it('counts a user once for each kind of event, however many requests he sends', async () => {
    const [byUser, byRequest] = [controller(), controller()];
    // One user of the canary has trouble of his own; forty others, of either variant, have none.
    for (let index = 0; index < 40; index++) {
      for (const each of [byUser, byRequest]) for (const variant of ['baseline', 'canary'] as const) each.observe({ variant, failed: false, latencyMs: 100, unit: `${variant}-${index}` });
      byUser.observe({ variant: 'canary', failed: true, latencyMs: 1, unit: 'the-one' });
      byRequest.observe({ variant: 'canary', failed: true, latencyMs: 1 });
    }
    expect(await byUser.shouldRollback()).toBeNull();
    expect(await byRequest.shouldRollback()).toMatchObject({ reason: 'high_error_rate' });
  });

  it('needs new evidence after a rollback, and carries it on when the share is moved', async () => {
    let time = 0;
    const found = controller({ now: () => time });
    const fail = (times: number): void => {
      for (let index = 0; index < times; index++) for (const variant of ['baseline', 'canary'] as const) found.observe({ variant, failed: variant === 'canary', latencyMs: 1 });
    };
    fail(9);
    found.setPercentage(60);
    fail(9);
    expect(await found.shouldRollback()).toMatchObject({ reason: 'high_error_rate' });
    await found.executeRollback();
    time += 1_000;
    expect(await found.shouldRollback()).toBeNull();
    fail(10);
    expect(await found.shouldRollback()).toMatchObject({ reason: 'failed_at_once' });
  });

  it('watches memory and exits of the canary, and the blast radius', async () => {
    const watched = [
      { name: 'memory_leak', threshold: 50, severity: 'warning' },
      { name: 'crash_rate', threshold: 0.001, severity: 'critical' },
    ] as const;
    const leaking = controller({ triggers: watched });
    for (let minute = 0; minute < 40; minute++) leaking.observeMemory(1_000 + 2 * minute, minute * 60_000);
    expect(await leaking.shouldRollback()).toEqual({ reason: 'memory_leak', severity: 'warning' });
    const crashing = controller({ triggers: watched });
    for (let exits = 0; exits < 6; exits++) crashing.observeExit();
    for (let index = 0; index < 100; index++) crashing.observe({ variant: 'canary', failed: false, latencyMs: 1 });
    expect(await crashing.shouldRollback()).toEqual({ reason: 'crash_rate', severity: 'critical' });
    const failing = controller({ triggers: watched, blastRadius: 20 });
    for (let index = 0; index < 60; index++) for (const variant of ['baseline', 'canary'] as const) failing.observe({ variant, failed: variant === 'canary' && index % 2 === 1, latencyMs: 1 });
    expect(await failing.shouldRollback()).toEqual({ reason: 'blast_radius', severity: 'critical' });
  });

  it('moves the share to 0 at once when it is critical, by steps otherwise, and rests', async () => {
    let [time, steps]: [number, number[]] = [5_000, []];
    const more = { gradual: true, stepMs: 1, now: () => time, setPercentage: (step: number) => void steps.push(step) };
    const found = controller(more);
    await found.shouldRollback({ canaryErrorRate: 0, baselineErrorRate: 0.01, canaryLatency: 450, baselineLatency: 280 });
    expect(await found.executeRollback()).toEqual({ reason: 'high_latency', severity: 'warning', atMs: 5_000, steps: [10, 5, 0] });
    expect(steps).toEqual([10, 5, 0]);
    const bad = { canaryErrorRate: 0.5, baselineErrorRate: 0.01, canaryLatency: 1, baselineLatency: 1 };
    expect(await found.shouldRollback(bad)).toBeNull();
    time += 1_000;
    steps = [];
    expect(await found.shouldRollback(bad)).toMatchObject({ reason: 'high_error_rate' });
    await found.executeRollback();
    expect(steps).toEqual([0]);
    expect(found.getRollbackHistory().map(({ reason }) => reason)).toEqual(['high_latency', 'high_error_rate']);
  });
});
