import { describe, expect, it } from '@jest/globals';
import { createMetrics } from './metrics.ts';

describe('createMetrics', () => {
  const metrics = createMetrics({
    calls: { type: 'counter', name: 'x_calls_total', help: 'Calls.', labels: ['outcome'] },
    size: { type: 'gauge', name: 'x_size', help: 'Size.' },
    time: { type: 'histogram', name: 'x_ms', help: 'Time.', buckets: [1, 10] },
  });

  it('registers every metric of the table with its help, labels and buckets', async () => {
    metrics.calls.inc({ outcome: 'ok' }, 2);
    metrics.size.set(3);
    metrics.time.observe(5);
    const text = await metrics.registry.metrics();
    expect(text).toContain('# HELP x_calls_total Calls.\n# TYPE x_calls_total counter\nx_calls_total{outcome="ok"} 2');
    expect(text).toContain('x_size 3');
    expect(text).toContain('x_ms_bucket{le="10"} 1');
  });

  it('shows the metrics of the process too', async () => {
    expect(await metrics.registry.metrics()).toContain('process_cpu_seconds_total');
  });

  it('refuses a label that the table does not have', () => {
    expect(() => metrics.calls.inc({ user: 'me' })).toThrow('label');
  });

  it('keeps the registries of two services apart', () => {
    expect(() => createMetrics({ calls: { type: 'counter', name: 'x_calls_total', help: 'Calls.' } })).not.toThrow();
  });
});
