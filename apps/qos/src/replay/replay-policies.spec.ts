import { describe, expect, it } from '@jest/globals';
import { qosMonitor } from '@mlx-serving/policy';
import type { RecordedSample } from '../recording/recording.ts';
import { replayPolicies } from './replay-policies.ts';

const policies = Array.from({ length: 20 }, (_, index) => ({
  id: `p${index}`,
  name: 'P',
  enabled: true,
  priority: index,
  slos: [{ name: 'ttft_p95', metric: 'ttft', threshold: 500, window_ms: 60_000, severity: 'info', min_samples: 1 }],
  remediations: [],
}));
const settings = qosMonitor.parse({
  enabled: true,
  evaluator: { enabled: true, evaluation_interval_ms: 5_000, window_ms: 60_000, tdigest_compression: 100 },
  executor: { enabled: true, cooldown_ms: 60_000, max_executions_per_window: 5, execution_window_ms: 300_000, loop_detection_window: 6 },
  policy_store: { policies },
});
const sample = (atMs: number): RecordedSample => ({ atMs, outcome: 'ok', ttftMs: 900, durationMs: 1_000, tokens: 5, worker: 'w:1', variant: 'baseline' });

describe('replayPolicies', () => {
  it('lets the service go on while it runs, and ends with a recording of any length', async () => {
    let turns = 0;
    const counting = setInterval(() => turns++, 1);
    const { evaluations, requests, slos } = await replayPolicies([sample(0), sample(365 * 86_400_000)], { settings, baseLimit: 64 });
    clearInterval(counting);
    expect({ evaluations, requests }).toEqual({ evaluations: 20_000, requests: 2 });
    expect(slos).toHaveLength(20);
    expect(Object.values(slos[0]?.verdicts ?? {}).reduce((sum, each) => sum + each, 0)).toBe(20_000);
    expect(turns).toBeGreaterThan(1);
  });

  it('comes to nothing without a recording', async () => {
    expect(await replayPolicies([], { settings, baseLimit: 64 })).toMatchObject({ requests: 0, evaluations: 0, actions: [] });
  });
});
