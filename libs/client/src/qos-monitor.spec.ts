import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { runtimeFile } from '@mlx-serving/policy';
import { parseYaml } from '@mlx-serving/service-kit';
import { PolicyEngine } from './policy-engine.ts';
import { QosMonitor, type RemediationResult, type SloEvaluation } from './qos-monitor.ts';

const path = new URL('../../../config/runtime.yaml', import.meta.url);
const config = parseYaml('runtime.yaml', readFileSync(path, 'utf8'), runtimeFile);

describe('QosMonitor', () => {
  let time = 1_000_000;
  let monitor: QosMonitor;
  const violations: SloEvaluation[] = [];
  const remediations: RemediationResult[] = [];
  beforeEach(() => {
    violations.length = remediations.length = 0;
    monitor = new QosMonitor(config.qos_monitor, undefined, { now: () => time });
    monitor.on('slo:violated', (evaluation) => violations.push(evaluation));
    monitor.on('remediation:executed', (result) => remediations.push(result));
  });

  const interval = (ttft: number, count = 30): void => {
    for (let each = 0; each < count; each++) monitor.collectMetric({ metric: 'ttft', value: ttft, timestamp: time, streamId: `stream-${each}` });
    time += 5_000;
    monitor.evaluate();
  };

  it('says what is violated and what is done, with the fields of the guide', () => {
    interval(900);
    interval(900);
    expect(violations).toEqual([{ policyId: 'default_ttft_policy', sloName: 'ttft_p95', currentValue: 900, threshold: 550, severity: 'critical', verdict: 'violated' }]);
    expect(remediations).toMatchObject([{ action: 'scale_up', success: true, reason: 'TTFT SLO violated - scaling up concurrency', to: 69 }]);
    expect(monitor.getEvaluatorStats()).toMatchObject({ totalEvaluations: 2, totalViolations: 1, policiesEnabled: 2 });
    expect(monitor.getExecutorStats()).toMatchObject({ totalExecutions: 1, successRate: 1, inCooldown: false, active: 1 });
    interval(900);
    expect(monitor.getExecutorStats().inCooldown).toBe(true);
  });

  it('shows a snapshot', () => {
    for (const value of [100, 200, 300]) monitor.collectMetric({ metric: 'ttft', value });
    for (const value of [0, 0, 0, 1]) monitor.collectMetric({ metric: 'error_rate', value });
    monitor.collectMetric({ metric: 'stream_count', value: 7 });
    expect(monitor.collectMetric({ metric: 'ttft', value: Number.NaN })).toBe(false);
    expect(monitor.getTelemetry()).toEqual({ activeStreams: 7, totalRequests: 4, p50Ttft: 200, p95Ttft: 300, p99Ttft: 300, errorRate: 0.25, totalErrors: 1, violations: 0, remediations: 0 });
  });

  it('says what has recovered and what is taken back', () => {
    const recovered: string[] = [];
    const undone: string[] = [];
    monitor.on('slo:recovered', ({ sloName }) => recovered.push(sloName));
    monitor.on('remediation:undone', ({ action, rule }) => undone.push(`${action} ${rule}`));
    interval(900);
    interval(900);
    for (let each = 0; each < 30; each++) interval(100);
    expect([recovered, undone]).toEqual([['ttft_p95'], ['scale_up recovered']]);
  });

  it('refuses options that are none', () => {
    expect(() => new QosMonitor({ enabled: 'yes' } as never)).toThrow();
  });
});

describe('PolicyEngine', () => {
  it('lists policies and says what each of them finds', async () => {
    let time = 1_000_000;
    const engine = new PolicyEngine(config.qos_monitor, undefined, { now: () => time });
    expect(engine.getPolicies().filter(({ enabled }) => enabled).map(({ id }) => id)).toEqual(['default_ttft_policy', 'error_rate_policy']);
    const found: [string, string[]][] = [];
    engine.on('policy:evaluated', (policyId, violations) => found.push([policyId, violations.map(({ slo }) => slo)]));
    for (let each = 0; each < 2; each++) {
      for (let sample = 0; sample < 30; sample++) engine.monitor.collectMetric({ metric: 'ttft', value: 900 });
      time += 5_000;
      await engine.evaluate();
    }
    expect(found.slice(-2)).toEqual([['default_ttft_policy', ['ttft_p95']], ['error_rate_policy', []]]);
  });
});
