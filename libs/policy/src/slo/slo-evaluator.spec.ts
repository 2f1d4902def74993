import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { BURN_RATES, ErrorBudget } from './error-budget.ts';
import { MetricWindow, type RequestSample } from './metric-window.ts';
import { SloEvaluator } from './slo-evaluator.ts';
import { qosMonitor, type QosMonitorSettings } from './slo-policy.ts';

interface Changes {
  readonly evaluator?: Record<string, unknown>;
  readonly policies?: readonly Record<string, unknown>[];
  readonly slo?: Record<string, unknown>;
}

function settingsOf({ evaluator = {}, policies = [{}], slo = {} }: Changes = {}): QosMonitorSettings {
  return qosMonitor.parse({
    enabled: true,
    evaluator: { enabled: true, evaluation_interval_ms: 5_000, window_ms: 60_000, tdigest_compression: 100, ...evaluator },
    executor: { enabled: true, cooldown_ms: 60_000, max_executions_per_window: 5, execution_window_ms: 300_000, loop_detection_window: 6 },
    policy_store: {
      policies: policies.map((policy, index) => ({
        id: `p${index}`,
        name: 'P',
        enabled: true,
        priority: 1,
        remediations: [],
        slos: [{ name: 'ttft_p95', metric: 'ttft', threshold: 500, window_ms: 60_000, severity: 'critical', ...slo }],
        ...policy,
      })),
    },
  });
}

const request = (values: Partial<RequestSample> = {}): RequestSample => ({ outcome: 'ok', ttftMs: 100, durationMs: 200, tokens: 10, worker: 'w:1', variant: 'baseline', ...values });

/** An evaluator on a clock that only a test moves. */
function evaluatorOn(changes: Changes = {}) {
  let time = 1_000_000;
  const evaluator = new SloEvaluator(settingsOf(changes), () => time);
  return {
    evaluator,
    advance: (ms: number) => (time += ms),
    add: (count: number, values: Partial<RequestSample> = {}) => {
      for (let each = 0; each < count; each++) evaluator.add(request(values));
    },
    /** Evaluates so often, an interval apart, and gives the last verdict. */
    look: (times = 1, running?: number) => {
      let verdict;
      for (let each = 0; each < times; each++) verdict = evaluator.evaluate(running)[0];
      return verdict;
    },
  };
}

describe('SloEvaluator', () => {
  it.each([
    ['ttft', { metric: 'ttft', name: 'ttft_p95', threshold: 99 }, { metric: 'ttft', name: 'ttft_p95', threshold: 120 }, 100],
    ['latency', { metric: 'latency', name: 'slow', percentile: 99, threshold: 199 }, { metric: 'latency', name: 'slow_p99_9', threshold: 230 }, 200],
    ['error_rate', { metric: 'error_rate', threshold: 0.05 }, { metric: 'error_rate', threshold: 0.3 }, 0.2],
    ['throughput', { metric: 'throughput', threshold: 2_000 }, { metric: 'throughput', threshold: 500 }, 1_000],
    ['stream_count', { metric: 'stream_count', threshold: 6 }, { metric: 'stream_count', threshold: 9 }, 7],
  ])('judges %s, throughput as a minimum', (_, violated, good, value) => {
    for (const [slo, verdict] of [[violated, 'violated'], [good, 'ok']] as const) {
      const { add, look, advance } = evaluatorOn({ slo });
      advance(1_000);
      add(80);
      add(20, { outcome: 'failed', ttftMs: 100 });
      expect(look(2, 7)).toMatchObject({ verdict, value, samples: slo.metric === 'latency' ? 80 : 100 });
    }
  });

  it('lets the threshold itself pass', () => {
    const { add, look } = evaluatorOn({ slo: { threshold: 100 } });
    add(100, { ttftMs: 100 });
    expect(look(3)).toMatchObject({ verdict: 'ok' });
  });

  it('counts neither refusals nor clients that went away', () => {
    const { add, evaluator } = evaluatorOn();
    add(3);
    add(1, { outcome: 'failed' });
    add(50, { outcome: 'other' });
    expect([evaluator.window.requests, evaluator.window.errors, evaluator.window.errorRate]).toEqual([4, 1, 0.25]);
  });

  it('says nothing on too few samples, and takes the number from the SLO if it has one', () => {
    const { add, look } = evaluatorOn({ slo: { threshold: 1 } });
    add(19);
    expect(look(3)).toMatchObject({ verdict: 'insufficient_data', samples: 19 });
    add(1);
    expect(look(2)).toMatchObject({ verdict: 'violated' });
    const strict = evaluatorOn({ slo: { threshold: 1, min_samples: 200 } });
    strict.add(199);
    expect(strict.look(3)).toMatchObject({ verdict: 'insufficient_data' });
  });

  it('does not take one bad request of twenty for a broken error rate, but does ten of a hundred', () => {
    const slo = { name: 'errors', metric: 'error_rate', threshold: 0.04 };
    const few = evaluatorOn({ slo });
    few.add(19);
    few.add(1, { outcome: 'failed' });
    expect(few.look(3)).toMatchObject({ verdict: 'ok', value: 0.05 });
    const many = evaluatorOn({ slo });
    many.add(90);
    many.add(10, { outcome: 'failed' });
    expect(many.look(3)).toMatchObject({ verdict: 'violated', value: 0.1 });
  });

  it('calls old samples stale once nothing has come for a while, and says so only while there are any', () => {
    const { add, look, advance } = evaluatorOn({ slo: { threshold: 1 } });
    add(100);
    expect(look(2)).toMatchObject({ verdict: 'violated' });
    advance(15_001);
    expect(look()).toMatchObject({ verdict: 'stale' });
    advance(60_000);
    expect(look()).toMatchObject({ verdict: 'insufficient_data' });
  });

  it('judges the number of streams by what the workers say, though no request has ended for long', () => {
    const { add, look, advance } = evaluatorOn({ slo: { metric: 'stream_count', threshold: 6 } });
    add(30);
    advance(30_000);
    expect(look(2, 7)).toMatchObject({ verdict: 'violated', value: 7 });
    expect(look(1)).toMatchObject({ verdict: 'insufficient_data' });
  });

  it('finds that a budget burns where the short window has too few requests for the threshold, and not once nothing is heard', () => {
    const slo = { name: 'errors', metric: 'error_rate', threshold: 0.9, objective: 0.99 };
    const { add, look, advance } = evaluatorOn({ slo });
    for (let minute = 0; minute < 60; minute++) {
      add(4);
      add(1, { outcome: 'failed' });
      advance(60_000);
    }
    add(1);
    expect(look()).toMatchObject({ verdict: 'violated', samples: 1 });
    advance(15_001);
    expect(look()).toMatchObject({ verdict: 'stale' });
  });

  it.each([
    [14.4, 'both windows', 0.15, 0.15, true],
    [14.4, 'the short window alone', 0.001, 0.15, false],
    [14.4, 'the long window alone', 0.15, 0.001, false],
    [6, 'both windows', 0.065, 0.065, true],
    [6, 'neither window', 0.05, 0.05, false],
    [1, 'both windows', 0.015, 0.015, true],
    [1, 'neither window', 0.005, 0.005, false],
  ])('the pair of %d burns when %s: it did so at %d, then at %d', (rate, _, longBad, shortBad, burning) => {
    const pair = BURN_RATES.find((each) => each.rate === rate);
    if (!pair) throw new Error('there is no such pair');
    const budget = new ErrorBudget(0.99);
    const step = pair.short_ms / 10;
    for (let time = 0; time < pair.long_ms; time += step) {
      const bad = Math.round(1_000 * (time < pair.long_ms - pair.short_ms ? longBad : shortBad));
      for (let each = 0; each < 1_000; each++) budget.add(each >= bad, time);
    }
    expect(budget.read(pair.long_ms - 1, 20).find((each) => each.rate === rate)?.burning).toBe(burning);
  });

  it('changes its mind when two of three looks agree, not at one', () => {
    const { add, look, advance } = evaluatorOn({ slo: { window_ms: 5_000, threshold: 150 } });
    const phase = (ttftMs: number) => {
      advance(5_000);
      add(50, { ttftMs });
      return look()?.verdict;
    };
    expect([100, 300, 100, 300, 100, 100].map(phase)).toEqual(['ok', 'ok', 'ok', 'violated', 'violated', 'ok']);
  });

  it('stays violated until the value is better than the threshold by a tenth', () => {
    const { add, look, advance } = evaluatorOn({ slo: { window_ms: 5_000, threshold: 100 } });
    const phase = (ttftMs: number) => {
      advance(5_000);
      add(50, { ttftMs });
      return look()?.verdict;
    };
    expect([110, 110, 95, 95, 95, 89, 89].map(phase)).toEqual(['ok', 'violated', 'violated', 'violated', 'violated', 'violated', 'ok']);
    const exact = evaluatorOn({ slo: { window_ms: 5_000, threshold: 100, exit_threshold: 100 } });
    exact.add(50, { ttftMs: 110 });
    expect(exact.look(2)?.verdict).toBe('violated');
    exact.advance(5_000);
    exact.add(50, { ttftMs: 99 });
    expect(exact.look(2)?.verdict).toBe('ok');
  });

  it('looks at each SLO over its own window, highest priority first, and passes over what is not enabled', () => {
    const slos = (window_ms: number) => [{ name: 'ttft_p95', metric: 'ttft', threshold: 500, window_ms, severity: 'info' }];
    const { evaluator, add, advance } = evaluatorOn({ policies: [{ slos: slos(1_000), priority: 1 }, { enabled: false }, { slos: slos(20_000), priority: 9 }] });
    add(30);
    advance(5_000);
    expect(evaluator.evaluate(0).map(({ policy, samples }) => [policy, samples])).toEqual([['p2', 30], ['p0', 0]]);
  });

  it('keeps samples and memory over a change of other things', () => {
    const { evaluator, add, look } = evaluatorOn({ slo: { threshold: 1 } });
    add(50);
    look(2);
    evaluator.configure(settingsOf({ slo: { threshold: 1 }, policies: [{}, { id: 'another' }] }));
    expect(look()).toMatchObject({ verdict: 'violated', samples: 50 });
    evaluator.configure(settingsOf({ slo: { threshold: 2 } }));
    expect(look()).toMatchObject({ verdict: 'ok' });
  });

  it('burns an error budget: both windows of a pair must burn', () => {
    const slo = { name: 'errors', metric: 'error_rate', threshold: 0.9, objective: 0.99 };
    const { add, look, advance } = evaluatorOn({ slo });
    for (let minute = 0; minute < 60; minute++) {
      add(84);
      add(16, { outcome: 'failed' });
      advance(60_000);
    }
    add(20);
    expect(look()).toMatchObject({ verdict: 'violated', burn: [{ rate: 14.4, burning: true }, { rate: 6, burning: true }, { rate: 1, burning: true }] });
    for (let minute = 0; minute < 6; minute++) {
      add(100);
      advance(60_000);
    }
    add(20);
    const later = look();
    expect(later?.burn[0]).toMatchObject({ short: 0, burning: false });
    expect(later?.burn[1]?.burning).toBe(true);
  });

  it('goes on with an error budget after a restart, over a policy that was off meanwhile, and not for another threshold', () => {
    const slo = { name: 'errors', metric: 'error_rate', threshold: 0.9, objective: 0.99 };
    const before = evaluatorOn({ slo });
    before.add(84);
    before.add(16, { outcome: 'failed' });
    const kept = JSON.parse(JSON.stringify(before.evaluator.budgets)) as typeof before.evaluator.budgets;
    const burnOf = ({ add, look }: ReturnType<typeof evaluatorOn>) => (add(20), look()?.burn[0]?.burning);
    expect(burnOf(evaluatorOn({ slo }))).toBe(false);
    const after = evaluatorOn({ slo, policies: [{ enabled: false }] });
    after.evaluator.takeUpBudgets(kept);
    after.evaluator.configure(settingsOf({ slo }));
    after.evaluator.takeUpBudgets(kept);
    expect(after.evaluator.budgets).toEqual(kept);
    expect(after.look()).toMatchObject({ verdict: 'violated', burn: [{ long: expect.closeTo(16), burning: true }, { burning: true }, { burning: true }] });
    const another = evaluatorOn({ slo: { ...slo, threshold: 0.8 } });
    another.evaluator.takeUpBudgets(kept);
    expect(burnOf(another)).toBe(false);
  });

  it('finds the worker that is the cause', () => {
    const policy = { remediations: [{ type: 'circuit_break', target: 'transport', params: { duration_ms: 1_000 }, reason: 'slow' }] };
    const { evaluator, add } = evaluatorOn({ policies: [policy] });
    add(50);
    add(50, { worker: 'w:2', ttftMs: 900 });
    const slo = settingsOf().policy_store.policies[0]?.slos[0];
    expect(slo && evaluator.byWorker(slo).map(({ worker, beyond }) => [worker, beyond])).toEqual([['w:2', true], ['w:1', false]]);
  });

  it('stays sane whatever a report says', () => {
    const hostile = fc.array(fc.tuple(fc.constantFrom('ok' as const, 'failed' as const, 'other' as const), fc.option(fc.double(), { nil: undefined }), fc.double(), fc.double()));
    fc.assert(
      fc.property(hostile, (samples) => {
        const window = new MetricWindow({ windowMs: 60_000, compression: 100, now: () => 0 });
        for (const [outcome, ttftMs, durationMs, tokens] of samples) window.add(request({ outcome, ttftMs, durationMs, tokens }));
        expect(window.errorRate).toBeGreaterThanOrEqual(0);
        expect(window.errorRate).toBeLessThanOrEqual(1);
        expect(window.ttft.percentile(95) ?? 0).toBeGreaterThanOrEqual(0);
        expect(window.tokensPerSecond).toBeGreaterThanOrEqual(0);
        expect(window.requests).toBe(samples.filter(([outcome]) => outcome !== 'other').length);
      }),
    );
  });
});
