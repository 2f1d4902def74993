import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { Stack, stopAll } from './stack.ts';

/** Names that the specification gives, by the service that shows them. */
const METRICS = {
  flags: ['mlx_serving_feature_flags_decisions_total', 'mlx_serving_feature_flags_rollout_percentage', 'mlx_serving_feature_flags_kill_switch'],
  qos: [
    'mlx_serving_qos_slo_violations_total',
    'mlx_serving_qos_remediations_total',
    'mlx_serving_qos_evaluations_total',
    'mlx_serving_qos_ttft_p95_ms',
    'mlx_serving_qos_ttft_p99_ms',
    'mlx_serving_qos_error_rate',
  ],
  canary: [
    'mlx_serving_canary_requests_total',
    'mlx_serving_canary_latency_p95_ms',
    'mlx_serving_canary_error_rate',
    'mlx_serving_canary_rollbacks_total',
    'mlx_serving_canary_rollback_triggers_total',
  ],
} as const;

let stack: Stack;
const services = ['gateway', 'flags', 'qos', 'canary', 'admin', 'worker'];
const get = (service: string, path: string): Promise<Response> => fetch(`${stack.urls.operations[service]}${path}`);
const text = async (service: string, path: string): Promise<string> => (await get(service, path)).text();

beforeAll(async () => {
  stack = await Stack.start();
  await chat(stack);
});

afterAll(stopAll);

describe('every service', () => {
  it.each(services)('%s is live and ready, and shows metrics', async (service) => {
    expect((await get(service, '/health/live')).status).toBe(200);
    expect((await get(service, '/health/ready')).status).toBe(200);
    expect(await text(service, '/metrics')).toMatch(/^# TYPE \w+ (counter|gauge|histogram)$/m);
  });

  it('reads its configuration again on a hang-up signal to the launcher', async () => {
    const reloading = ['flags', 'gateway', 'canary'];
    const before = reloading.map((service) => stack.reloadsOf(service));
    for (const file of ['feature-flags.yaml', 'runtime.yaml', 'canary.yaml']) appendFileSync(join(stack.config, file), '\n# edited\n');
    process.kill(Number(readFileSync(stack.urls.pidFile, 'utf8')), 'SIGHUP');
    await eventually(() => reloading.every((service, index) => stack.reloadsOf(service) > (before[index] ?? 0)));
    for (const service of services) expect((await get(service, '/health/ready')).status).toBe(200);
  });
});

describe('the metrics', () => {
  it.each(Object.entries(METRICS))('of %s have the names of the specification', async (service, names) => {
    const shown = await text(service, '/metrics');
    expect(names.filter((name) => !shown.includes(`# TYPE ${name} `))).toEqual([]);
  });

  it('count the decisions of a request', async () => {
    await eventually(async () => /^mlx_serving_feature_flags_decisions_total\{(?=.*feature="ttft_pipeline")(?=.*enabled="true").*\} [1-9]/m.test(await text('flags', '/metrics')));
  });
});

describe('the logs', () => {
  it('are JSON lines without a prompt', () => {
    for (const { name, log } of stack.children()) {
      if (name === 'redis') continue;
      const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
      expect(() => lines.map((line) => JSON.parse(line) as unknown)).not.toThrow();
      expect(lines.join('')).not.toContain('Explain the canary.');
    }
  });
});
