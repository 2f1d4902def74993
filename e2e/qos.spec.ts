import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { AlertStandIn } from '@mlx-serving/testing';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, root, Stack, stopAll, temporaryFolder } from './stack.ts';

interface Action {
  readonly id: string;
  readonly policy: string;
  readonly action: string;
  readonly outcome: string;
  readonly rule: string;
}

interface QosState {
  readonly acting: boolean;
  readonly dryRun: boolean;
  readonly linkedGateways: readonly string[];
  readonly slos: readonly { readonly policy: string; readonly slo: string; readonly metric: string; readonly verdict: string; readonly value?: number }[];
  readonly remediations: readonly { readonly actuator: string; readonly policy: string; readonly reason: string }[];
  readonly alerts: readonly unknown[];
}

const THRESHOLD_MS = 400;
/** How late the first tokens of a slow worker are, however fast the machine is. */
const LATE_MS = 700;

let stack: Stack;
let hooks: AlertStandIn;

/** `config/runtime.yaml` with short windows, and policies that use every remediation. */
function writeConfig(folder: string): void {
  const path = join(folder, 'runtime.yaml');
  const text = readFileSync(path, 'utf8');
  const ttft = `slos: [{ name: ttft_p50, metric: ttft, threshold: ${THRESHOLD_MS}, window_ms: 3000, severity: critical, min_samples: 3 }]`;
  const metric = (name: string, threshold: number): string => `{ name: ${name}, metric: ${name}, threshold: ${threshold}, window_ms: 3000, severity: info, min_samples: 1 }`;
  const alerts = ['slack', 'pagerduty', 'webhook'].map((channel) => `{ type: alert, target: stream_registry, params: { channel: ${channel} }, reason: first tokens are late }`);
  const policies = [
    `{ id: slow, name: Slow, enabled: true, priority: 9, ${ttft}, remediations: [{ type: scale_down, target: governor, params: { delta: 16 }, reason: too many at a time }, { type: shed_load, target: stream_registry, params: { percentage: 40 }, reason: too much }, ${alerts.join(', ')}] }`,
    `{ id: would, name: Would, enabled: true, priority: 1, dry_run: true, ${ttft}, remediations: [{ type: scale_up, target: governor, params: { delta: 4 }, reason: try }] }`,
    `{ id: seen, name: Seen, enabled: true, priority: 0, slos: [${[metric('error_rate', 0.5), metric('throughput', 0), metric('stream_count', 1000), metric('latency', 60000).replace('name: latency', 'name: latency_p99')].join(', ')}], remediations: [] }`,
  ];
  const begin = text.indexOf('      - id: default_ttft_policy');
  const end = text.indexOf('# Admission');
  const changed = `${text.slice(0, begin)}${policies.map((policy) => `      - ${policy}\n`).join('')}\n${text.slice(end)}`;
  writeFileSync(path, changed.replace('evaluation_interval_ms: 5000', 'evaluation_interval_ms: 250').replace('cooldown_ms: 60000', 'cooldown_ms: 60000\n    recovery_ms: 500').replace('lease_ttl_ms: 15000', 'lease_ttl_ms: 3000'));
}

const state = (): Promise<QosState> => admin<QosState>(stack, 'GET', '/admin/qos');
const actions = async (): Promise<readonly Action[]> => (await admin<{ actions: Action[] }>(stack, 'GET', '/admin/qos/actions?limit=500')).actions;
const gatewayMetric = async (name: string): Promise<number> => Number(new RegExp(`^${name.replaceAll(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(await (await fetch(`${stack.urls.operations['gateway']}/metrics`)).text())?.[1]);
const verdictOf = async (policy: string): Promise<string | undefined> => (await state()).slos.find((slo) => slo.policy === policy)?.verdict;
const cli = (...args: string[]): string => {
  const env = { ...process.env, MLX_SERVING_ADMIN_URL: stack.urls.admin, MLX_SERVING_GATEWAY_URL: stack.urls.gateway, MLX_SERVING_ADMIN_TOKEN_FILE: stack.urls.adminTokenFile };
  return execFileSync('node', ['--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', join(root, 'apps', 'cli', 'src', 'main.ts'), 'qos', ...args], { env, encoding: 'utf8' });
};

let asking = false;
let asked: Promise<unknown>[] = [];
const statuses = new Map<number, number>();

/** Keeps four clients asking until it is told to stop. */
function ask(): void {
  asking = true;
  asked = Array.from({ length: 4 }, async (_, client) => {
    for (let turn = 0; asking; turn++) {
      const { status } = await chat(stack, { maxTokens: 4, messages: [{ role: 'user', content: `Explain the canary ${client}, ${turn}.` }] });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
}

/** One request of a class. */
const askOnce = (priority: string): Promise<Response> =>
  fetch(`${stack.urls.gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-mlx-serving-priority': priority },
    body: JSON.stringify({ model: 'tiny', max_tokens: 1, messages: [{ role: 'user', content: 'Hello.' }] }),
  });

const faults = join(temporaryFolder(), 'faults.json');
const slowDown = (): void => writeFileSync(faults, JSON.stringify({ worker: { slow_ms: LATE_MS } }));
const speedUp = (): void => writeFileSync(faults, '{}');

beforeAll(async () => {
  hooks = new AlertStandIn();
  const url = await hooks.start();
  Object.assign(process.env, {
    MLX_SERVING_SLACK_WEBHOOK_URL: `${url}/slack`,
    MLX_SERVING_PAGERDUTY_URL: `${url}/v2/enqueue`,
    MLX_SERVING_PAGERDUTY_ROUTING_KEY: 'K'.repeat(32),
    MLX_SERVING_ALERT_WEBHOOK_URL: `${url}/webhook`,
  });
  const config = copyOfConfig();
  writeConfig(config);
  speedUp();
  stack = await Stack.start({ config, env: { MLX_WORKER_FAULT: faults } });
  await chat(stack);
  ask();
});

afterAll(async () => {
  asking = false;
  await Promise.allSettled(asked);
  await stopAll();
  await hooks.stop();
});

describe('while the worker is fast', () => {
  it('Q1: every metric is judged over its own window, and good', async () => {
    await eventually(async () => {
      const { slos } = await state();
      expect(slos.filter(({ policy }) => policy === 'seen').map(({ metric, verdict }) => [metric, verdict])).toEqual(['error_rate', 'throughput', 'stream_count', 'latency'].map((metric) => [metric, 'ok']));
      expect(slos.find(({ policy }) => policy === 'slow')).toMatchObject({ metric: 'ttft', verdict: 'ok' });
    });
    expect(await state()).toMatchObject({ acting: true, remediations: [], alerts: [] });
  });

  it('Q2: policies are checked with line and column before they hold, and shown', async () => {
    const { policies } = await admin<{ policies: { id: string }[] }>(stack, 'GET', '/admin/qos/policies');
    expect(policies.map(({ id }) => id)).toEqual(['slow', 'would', 'seen']);
    const broken = join(temporaryFolder(), 'runtime.yaml');
    writeFileSync(broken, readFileSync(join(stack.config, 'runtime.yaml'), 'utf8').replace('delta: 16', 'delta: 0'));
    expect(() => cli('validate', broken)).toThrow(/runtime.yaml:\d+:\d+.*scale_down needs delta/);
  });
});

describe('the gateway', () => {
  it('Q7: hands over to the PID controller by the flag, and the limit does not jump', async () => {
    const limit = (): Promise<number> => gatewayMetric('mlx_serving_gateway_concurrency_limit');
    await admin(stack, 'POST', '/admin/flags/adaptive_governor', { enabled: true, rolloutPercentage: 100, reason: 'test' });
    let least = 64;
    for (let look = 0; look < 20; look++) least = Math.min(least, await limit());
    expect(least).toBeGreaterThanOrEqual(57);
    await admin(stack, 'POST', '/admin/flags/adaptive_governor', { enabled: false, rolloutPercentage: 0, reason: 'test' });
    await eventually(async () => (await limit()) === 64);
  });
});

describe('while the worker is slow', () => {
  beforeAll(slowDown);

  it('Q3: the SLO breaks, and the actions land in the gateway', async () => {
    await eventually(async () => (await verdictOf('slow')) === 'violated');
    await eventually(async () => (await gatewayMetric('mlx_serving_gateway_concurrency_limit')) === 48);
    await eventually(async () => (await gatewayMetric('mlx_serving_gateway_shed_share{priority="normal"}')) > 0);
    expect((await state()).remediations.map(({ actuator, reason }) => `${actuator}: ${reason}`).sort()).toEqual(['dry:limit: try', 'limit: too many at a time', 'shed: too much']);
    await eventually(() => (statuses.get(429) ?? 0) > 0);
  });

  it('Q3: the worker’s own limit follows the gateways’', async () => {
    await eventually(() => stack.log('qos').includes('"maxBatch":12'));
  });

  it('Q3, Q8: the least urgent are refused first', async () => {
    const share = (priority: string): Promise<number> => gatewayMetric(`mlx_serving_gateway_shed_share{priority="${priority}"}`);
    await eventually(async () => (await share('background')) === 1);
    expect(await share('batch')).toBe(1);
    expect(await share('interactive')).toBe(0);
    for (let each = 0; each < 5; each++) expect((await askOnce('background')).status).toBe(429);
  });

  it('Q8: who is refused gets 429, the reason, and a time to try again after', async () => {
    const refused = await eventually(async () => {
      const response = await askOnce('normal');
      const body = await response.text();
      expect(response.status).toBe(429);
      return { retryAfter: response.headers.get('retry-after'), body };
    });
    expect(Number(refused.retryAfter)).toBeGreaterThanOrEqual(1);
    expect(refused.body).toContain('Try again in');
  });

  it('Q3: Slack, PagerDuty and the webhook hear of it once, in their own form', async () => {
    await eventually(() => new Set(hooks.received.map(({ path }) => path)).size === 3);
    expect(hooks.at('/slack')).toEqual([{ text: expect.stringContaining('first tokens are late'), blocks: [expect.objectContaining({ type: 'section' }), expect.objectContaining({ type: 'section', fields: expect.any(Array) })] }]);
    expect(hooks.at('/v2/enqueue')).toMatchObject([{ routing_key: 'K'.repeat(32), event_action: 'trigger', payload: { severity: 'critical', summary: expect.stringContaining('first tokens are late') } }]);
    expect(hooks.at('/webhook')).toMatchObject([{ event: 'trigger', policy: 'slow', slo: 'ttft_p50' }]);
    expect([[...hooks.incidents.values()], hooks.problems]).toEqual([['open'], []]);
  });

  it('Q4: what was done and what was not is explained, and a dry run only says', async () => {
    await eventually(async () => (await actions()).some(({ rule, outcome }) => rule === 'cooldown' && outcome === 'withheld'));
    const all = await actions();
    expect(all.filter(({ policy }) => policy === 'would').map(({ outcome }) => outcome)).toContain('would_have');
    const done = all.find(({ action, outcome }) => action === 'scale_down' && outcome === 'executed');
    const text = cli('explain', done?.id ?? '');
    expect(text).toMatch(/Policy slow: ttft_p50 was \d+.*threshold 400, over \d+ samples in 3000 ms/);
    expect(text).toMatch(/scale_down on limit, 64 → 48: executed/);
    expect(text).toContain('Rule slo_violated');
  });

  it('Q6: the metrics of the specification count it', async () => {
    const shown = async (): Promise<string> => (await fetch(`${stack.urls.operations['qos']}/metrics`)).text();
    for (const line of ['slo_violations_total\\{policy="slow",severity="critical"\\} [1-9]', 'evaluations_total\\{policy="slow"\\} [1-9]', 'remediations_total\\{action="scale_down",success="true"\\} [1-9]', 'ttft_p95_ms\\{window="1m"\\} \\d', 'ttft_p99_ms\\{window="1m"\\} \\d', 'error_rate\\{window="1m"\\} 0']) {
      await eventually(async () => new RegExp(`^mlx_serving_qos_${line}`, 'm').test(await shown()));
    }
  });

  it('Q4: a replica that is killed takes up what it left when it is started again', async () => {
    const before = (await state()).remediations.find(({ actuator }) => actuator === 'shed');
    process.kill(stack.child('qos').pid, 'SIGKILL');
    await eventually(async () => (await state()).acting);
    expect((await state()).remediations).toContainEqual(expect.objectContaining({ actuator: 'shed', reason: before?.reason }));
  });
});

describe('while the worker is slow still', () => {
  it('Q3: a controller that hangs is not obeyed for longer than its leases last, and again once it goes on', async () => {
    const { pid } = stack.child('qos');
    await eventually(async () => (await state()).linkedGateways.length === 1);
    await eventually(async () => (await gatewayMetric('mlx_serving_gateway_concurrency_limit')) === 48);
    process.kill(pid, 'SIGSTOP');
    try {
      await eventually(async () => (await gatewayMetric('mlx_serving_gateway_concurrency_limit')) === 64);
      await eventually(async () => (await gatewayMetric('mlx_serving_gateway_shed_share{priority="background"}')) === 0);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(async () => (await gatewayMetric('mlx_serving_gateway_concurrency_limit')) === 48);
  });
});

describe('when the worker is fast again', () => {
  beforeAll(speedUp);

  it('Q3: everything is undone, and the alerts are resolved', async () => {
    await eventually(async () => (await gatewayMetric('mlx_serving_gateway_concurrency_limit')) === 64);
    await eventually(async () => (await gatewayMetric('mlx_serving_gateway_shed_share{priority="normal"}')) === 0);
    await eventually(() => [...hooks.incidents.values()].every((each) => each === 'resolved'));
    await eventually(() => hooks.received.length === 6);
    expect([hooks.incidents.size, hooks.problems]).toEqual([1, []]);
    expect((await state()).alerts).toEqual([]);
  });

  it('Q5: policies can be tried on what was recorded, here and from a file', async () => {
    const folder = temporaryFolder();
    const [draft, recording] = [join(folder, 'policies.yaml'), join(folder, 'recording.jsonl')];
    writeFileSync(draft, '- { id: draft, name: Draft, enabled: true, priority: 1, slos: [{ name: ttft_p50, metric: ttft, threshold: 1, window_ms: 3000, severity: info, min_samples: 3 }], remediations: [{ type: scale_up, target: governor, params: { delta: 4 }, reason: try }] }\n');
    expect(cli('dry-run', draft)).toMatch(/draft\/ttft_p50: .*violated \d+[\s\S]*executed +scale_up on limit 64 → 68, policy draft/);
    cli('record', '--output', recording, '--limit', '500');
    expect(cli('replay', recording, '--policies', draft)).toMatch(/^\d+ requests, \d+ evaluations[\s\S]*policy draft/);
    expect((await actions()).map(({ policy }) => policy)).not.toContain('draft');
  });
});

describe('when all is a dry run', () => {
  it('Q2, Q4: the file says so without a restart, and a slow worker only leads to what would have been done', async () => {
    const path = join(stack.config, 'runtime.yaml');
    writeFileSync(path, readFileSync(path, 'utf8').replace('cooldown_ms: 60000', 'dry_run: true\n    cooldown_ms: 60000'));
    await eventually(async () => (await state()).dryRun);
    slowDown();
    await eventually(async () => (await state()).remediations.some(({ actuator }) => actuator === 'dry:shed'));
    speedUp();
    expect((await state()).remediations.every(({ actuator }) => actuator.startsWith('dry:'))).toBe(true);
    expect([await gatewayMetric('mlx_serving_gateway_concurrency_limit'), await gatewayMetric('mlx_serving_gateway_shed_share{priority="background"}')]).toEqual([64, 0]);
    expect(hooks.received.length).toBe(6);
  });
});
