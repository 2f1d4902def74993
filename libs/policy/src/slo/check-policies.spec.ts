import { describe, expect, it } from '@jest/globals';
import { checkPolicies } from './check-policies.ts';
import { qosMonitor } from './slo-policy.ts';

const base = { id: 'p', name: 'P', enabled: true, priority: 1 };
const ttft = { name: 'ttft_p95', metric: 'ttft', threshold: 500, window_ms: 60_000, severity: 'critical' };

function problems(policies: Record<string, unknown>[], evaluator: Record<string, unknown> = {}): string[] {
  const settings = qosMonitor.parse({
    enabled: true,
    evaluator: { enabled: true, evaluation_interval_ms: 5_000, window_ms: 60_000, tdigest_compression: 100, ...evaluator },
    executor: { enabled: true, cooldown_ms: 60_000, max_executions_per_window: 5, execution_window_ms: 300_000, loop_detection_window: 6 },
    policy_store: { policies: policies.map((policy) => ({ ...base, slos: [ttft], remediations: [], ...policy })) },
  });
  return checkPolicies({ qos_monitor: settings }).map(({ path, message }) => `${path.slice(3).join('.')}: ${message}`);
}

describe('checkPolicies', () => {
  it.each([
    [[{ slos: [{ ...ttft, name: 'ttft' }] }], '0.slos.0.name: An SLO on ttft needs a percentile, or a name such as ttft_p95.'],
    [[{}, {}], '1.id: There are two policies p.'],
    [[{ slos: [{ ...ttft, exit_threshold: 501 }] }], '0.slos.0.exit_threshold: It must be at most the threshold.'],
    [[{ slos: [{ ...ttft, metric: 'throughput', objective: 0.9 }] }], '0.slos.0.objective: throughput has no error budget.'],
    [[{ slos: [{ ...ttft, burn_rates: [{ rate: 1, long_ms: 2, short_ms: 1 }] }] }], '0.slos.0.burn_rates: Burn rates need an objective.'],
    [[{ slos: [{ ...ttft, objective: 0.9, burn_rates: [{ rate: 1, long_ms: 1, short_ms: 2 }] }] }], '0.slos.0.burn_rates.0.short_ms: The short window is longer than the long one.'],
    [[{ remediations: [{ type: 'alert', target: 'governor', params: { channel: 'slack' }, reason: 'r' }] }], '0.remediations.0.target: The target of alert is stream_registry.'],
    [[{ remediations: [{ type: 'alert', target: 'stream_registry', params: { channel: 'fax' }, reason: 'r' }] }], '0.remediations.0.params: alert needs channel: slack, pagerduty or webhook.'],
    [[{ remediations: [{ type: 'scale_up', target: 'governor', params: {}, reason: 'r' }] }], '0.remediations.0.params: scale_up needs delta: a whole number from 1 to 10000.'],
    [[{ remediations: [{ type: 'shed_load', target: 'stream_registry', params: { percentage: 20, per: 1 }, reason: 'r' }] }], '0.remediations.0.params.per: shed_load has no parameter per.'],
  ])('says what is wrong, and where: %#', (policies, problem) => {
    expect(problems(policies)).toEqual([problem]);
  });

  it('has nothing against the policies of the guide', () => {
    const remediations = [
      { type: 'scale_up', target: 'governor', params: { delta: 5 }, reason: 'r' },
      { type: 'circuit_break', target: 'transport', params: { duration_ms: 1_000 }, reason: 'r' },
    ];
    expect(problems([{ remediations }])).toEqual([]);
  });

  it('refuses a vote that nothing can win', () => {
    expect(problems([{}], { evaluations_agreeing: 4 })).toEqual([': More evaluations cannot agree than are looked at.']);
  });
});
