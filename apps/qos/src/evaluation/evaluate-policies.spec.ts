import { describe, expect, it } from '@jest/globals';
import { type SloPolicy, sloPolicy } from '@mlx-serving/policy';
import type { WindowView } from '../reports/report-window.ts';
import { evaluatePolicies } from './evaluate-policies.ts';

function policy(slo: Record<string, unknown>, rest: Record<string, unknown> = {}): SloPolicy {
  const slos = [{ name: 'slo', metric: 'ttft', threshold: 500, window_ms: 60_000, severity: 'critical', ...slo }];
  return sloPolicy.parse({ id: 'p', name: 'P', enabled: true, priority: 1, remediations: [], slos, ...rest });
}

function view(values: Partial<WindowView> = {}): WindowView {
  const percentiles = { count: 100, percentile: (p: number) => p * 10 };
  return { requests: 100, errors: 0, errorRate: 0, tokensPerSecond: 50, ttft: percentiles, latency: percentiles, ...values };
}

function verdict(slo: Record<string, unknown>, window = view(), runningRequests?: number) {
  return evaluatePolicies([policy(slo)], { window: () => window, runningRequests })[0];
}

describe('evaluatePolicies', () => {
  it('judges the percentile that the SLO gives, else the one of its name', () => {
    expect(verdict({ name: 'ttft_p95', threshold: 949 })).toMatchObject({ verdict: 'violated', value: 950 });
    expect(verdict({ name: 'ttft_p95', threshold: 500, percentile: 50 })).toMatchObject({ verdict: 'ok', value: 500 });
    expect(verdict({ name: 'slow_p99_9', metric: 'latency', threshold: 998 })).toMatchObject({ verdict: 'violated', value: 999 });
  });

  it('lets the threshold itself pass', () => {
    expect(verdict({ name: 'ttft_p95', threshold: 950 })).toMatchObject({ verdict: 'ok' });
    expect(verdict({ metric: 'throughput', threshold: 50 })).toMatchObject({ verdict: 'ok' });
  });

  it('takes throughput as a minimum and the error rate as a maximum', () => {
    expect(verdict({ metric: 'throughput', threshold: 51 })).toMatchObject({ verdict: 'violated', value: 50 });
    expect(verdict({ metric: 'error_rate', threshold: 0.01 }, view({ errorRate: 0.02 }))).toMatchObject({ verdict: 'violated' });
    expect(verdict({ metric: 'error_rate', threshold: 0.02 }, view({ errorRate: 0.01 }))).toMatchObject({ verdict: 'ok' });
  });

  it('says nothing on fewer than twenty samples', () => {
    const few = { count: 19, percentile: () => 9_999 };
    const enough = { count: 20, percentile: () => 9_999 };
    expect(verdict({ name: 'ttft_p95' }, view({ ttft: few }))).toMatchObject({ verdict: 'insufficient_data', samples: 19 });
    expect(verdict({ name: 'ttft_p95' }, view({ ttft: enough }))).toMatchObject({ verdict: 'violated', samples: 20 });
    expect(verdict({ metric: 'error_rate', threshold: 0 }, view({ requests: 19, errorRate: 1 }))).toMatchObject({ verdict: 'insufficient_data' });
    expect(verdict({ metric: 'throughput' }, view({ requests: 0, tokensPerSecond: 0 }))).toMatchObject({ verdict: 'insufficient_data' });
  });

  it('says nothing on a percentile that nobody named', () => {
    expect(verdict({ name: 'ttft' })).toMatchObject({ verdict: 'insufficient_data' });
  });

  it('judges the number of streams by what the workers say', () => {
    expect(verdict({ metric: 'stream_count', threshold: 8 }, view(), 9)).toMatchObject({ verdict: 'violated', value: 9 });
    expect(verdict({ metric: 'stream_count', threshold: 8 }, view(), 8)).toMatchObject({ verdict: 'ok' });
    expect(verdict({ metric: 'stream_count', threshold: 8 }, view(), undefined)).toMatchObject({ verdict: 'insufficient_data' });
  });

  it('looks at each SLO over its own window', () => {
    const asked: number[] = [];
    const policies = [policy({ window_ms: 1_000 }), policy({ window_ms: 2_000 })];
    evaluatePolicies(policies, { window: (windowMs) => (asked.push(windowMs), view()), runningRequests: undefined });
    expect(asked).toEqual([1_000, 2_000]);
  });

  it('passes over policies that are not enabled, and begins with the highest priority', () => {
    const policies = [policy({}, { id: 'low', priority: 1 }), policy({}, { id: 'off', enabled: false }), policy({}, { id: 'high', priority: 9 })];
    expect(evaluatePolicies(policies, { window: () => view(), runningRequests: 0 }).map((each) => each.policy)).toEqual(['high', 'low']);
  });
});
