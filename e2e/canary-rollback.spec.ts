import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { forBusyMachine } from './busy-machine.ts';
import { admin, chat, toolOf } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, Stack, temporaryFolder } from './stack.ts';

interface Rollout {
  readonly id: string;
  readonly phase: string;
  readonly status: string;
  readonly judgement?: { readonly memorySlopes: readonly { readonly low: number }[]; readonly excessBadRequests: number };
  readonly stages: readonly { readonly percentage: number; readonly holdMs: number; readonly gate: boolean }[];
  readonly percentage: number;
  readonly reason: string;
  readonly history: readonly { readonly event: string; readonly actor: string; readonly reason: string }[];
  readonly evidence?: { readonly units: { readonly canary: number; readonly baseline: number } } | null;
}

let stack: Stack;
let faultFile: string;

/** The canary's worker has these from its next request on. */
const fault = (faults: object): void => writeFileSync(faultFile, JSON.stringify({ 'canary-worker': { leak_mb: 1, ...faults } }));

beforeAll(async () => {
  const config = copyOfConfig();
  const file = join(config, 'canary.yaml');
  const text = forBusyMachine(readFileSync(file, 'utf8')).replace(/rolloutPercentage: \S+/, 'rolloutPercentage: 50').replace('hashKey: user_id', 'hashKey: request_id').replace('intervalMs: 5000', 'intervalMs: 500');
  writeFileSync(file, text.replace('  triggers:\n', '  triggers:\n    - { name: repeated_output, threshold: 2, severity: critical }\n    - { name: empty_output, threshold: 2, severity: critical }\n'));
  faultFile = join(temporaryFolder(), 'faults.json');
  fault({});
  stack = await Stack.start({ canary: true, config, env: { MLX_WORKER_FAULT: faultFile } });
});

afterAll(() => stack?.stop());

const rollout = (): Promise<Rollout> => admin<Rollout>(stack, 'GET', '/admin/canary/rollout');
const share = async (): Promise<number> => ((await (await fetch(`${stack.urls.gateway}/health/canary`)).json()) as { canary: { percentage: number } }).canary.percentage;
const ask = (maxTokens = 2): Promise<{ variant: string; status: number }> => chat(stack, { maxTokens });
const rollbacks = ({ history }: Rollout): number => history.filter(({ event }) => event === 'rolled_back').length;
const command = (name: string, ...args: string[]): Promise<string> => toolOf(stack, `${name}-canary.sh`, ...args);
const metrics = async (service: string): Promise<string> => (await fetch(`${stack.urls.operations[service]}/metrics`)).text();
const retry = async (): Promise<void> => {
  fault({});
  await admin(stack, 'POST', '/admin/canary/retry', { force: true });
  await eventually(async () => (await share()) === 50);
};

/** Changes the file, and waits until the canary service has read it. */
async function edit(from: RegExp, to: string): Promise<void> {
  const file = join(stack.config, 'canary.yaml');
  const [before, reloads] = [readFileSync(file, 'utf8'), stack.reloadsOf('canary')];
  expect(before).toMatch(from);
  writeFileSync(file, before.replace(from, to));
  await eventually(() => stack.reloadsOf('canary') > reloads);
}

/** What another engine asks, with the token as a password. */
async function engine(method: string, path: string, body?: object): Promise<{ status: number; body: unknown }> {
  const headers = { authorization: `Basic ${Buffer.from(`engine:${stack.token}`).toString('base64')}`, 'content-type': 'application/json' };
  const response = await fetch(`${stack.urls.admin}/admin/canary/${path}`, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return { status: response.status, body: await response.json() };
}

/** Asks until the gateway sends nobody to the canary any more. */
async function askUntilRolledBack(maxTokens = 2): Promise<Rollout> {
  await eventually(async () => {
    await ask(maxTokens).catch(() => undefined);
    return (await share()) === 0;
  }, 60_000);
  return rollout();
}

/** Kills the canary service and waits for the next one. */
async function killService(): Promise<void> {
  const { pid } = stack.child('canary');
  process.kill(pid, 'SIGKILL');
  await eventually(() => stack.child('canary').pid !== pid, 30_000);
}

/** What Redis has of the rollout. */
async function kept(): Promise<Rollout> {
  const redis = new Redis(stack.urls.redis, { maxRetriesPerRequest: 1 });
  const text = await redis.get('canary:rollout');
  redis.disconnect();
  return JSON.parse(text ?? '{}') as Rollout;
}

describe('a canary on a second worker', () => {
  it('C3: goes on at the same stage with the same evidence when the canary service is killed', async () => {
    for (let index = 0; index < 40; index++) await ask();
    const before = await eventually(async () => {
      const found = await kept();
      const units = (found.evidence?.units.canary ?? 0) + (found.evidence?.units.baseline ?? 0);
      if (units !== 40) throw new Error(`Redis has the evidence of ${units} of 40 requests.`);
      return found;
    });
    await killService();
    const after = await eventually(rollout);
    expect(after).toMatchObject({ id: before.id, phase: 'running', percentage: 50 });
    expect(after.history).toHaveLength(before.history.length);
    await eventually(async () => (await kept()).evidence?.units.canary === before.evidence?.units.canary);
    await eventually(async () => (await share()) === 50);
  });

  it('C2: is rolled back when it becomes slow, on the gateway too, and once', async () => {
    for (let index = 0; index < 220; index++) await ask();
    const usual = await rollout();
    fault({ slow_ms: 500 });
    const found = await askUntilRolledBack();
    expect(found).toMatchObject({ id: usual.id, phase: 'rolled_back', percentage: 0, reason: 'high_latency' });
    expect(rollbacks(found)).toBe(1);
    const variants = await Promise.all(Array.from({ length: 8 }, () => ask()));
    expect(variants.every(({ variant, status }) => variant === 'baseline' && status === 200)).toBe(true);
  });

  it('C3: stays rolled back when the canary service is killed: one rollout, one rollback', async () => {
    const before = await rollout();
    await killService();
    const after = await eventually(rollout);
    expect(after).toMatchObject({ id: before.id, phase: 'rolled_back', percentage: 0 });
    expect(after.history).toEqual(before.history);
    await eventually(async () => (await fetch(`${stack.urls.gateway}/health/ready`)).ok);
    expect(await share()).toBe(0);
  });

  it('C3: stays rolled back when the canary service is killed while Redis does not answer, and is known again when it does', async () => {
    const before = await rollout();
    const redis = stack.child('redis').pid;
    process.kill(redis, 'SIGSTOP');
    try {
      await killService();
      const unknown = await eventually(rollout, 30_000);
      expect(unknown).toMatchObject({ status: 'frozen', percentage: 0, reason: 'the kept rollout could not be read yet' });
      expect([await share(), (await ask()).variant]).toEqual([0, 'baseline']);
    } finally {
      process.kill(redis, 'SIGCONT');
    }
    const after = await eventually(async () => (await rollout()).id === before.id && rollout());
    expect(after).toMatchObject({ phase: 'rolled_back', percentage: 0, history: before.history });
    expect(await share()).toBe(0);
  });

  it('tells other engines that it is bad', async () => {
    const { status, body } = await engine('GET', 'argo');
    expect([status, body]).toEqual([200, { data: expect.objectContaining({ ok: false, failed: true, inconclusive: false, status: 'rolled_back' }) }]);
    const hook = { name: 'tiny', namespace: 'test', phase: 'Progressing' };
    const answers = await Promise.all(['rollout', 'confirm-promotion', 'rollback', 'event'].map(async (kind) => (await engine('POST', `flagger/${kind}`, hook)).status));
    expect(answers).toEqual([409, 409, 200, 200]);
  });

  it('C2: is stopped when more requests went wrong than it may cost, before the test is sure', async () => {
    await retry();
    await edit(/( +)gradual: false\n/, '$1gradual: false\n$1blastRadius: 5\n');
    fault({ fail: 0.6 });
    const { reason, judgement } = await askUntilRolledBack();
    expect(reason).toBe('blast_radius');
    expect(judgement?.excessBadRequests).toBeGreaterThan(5);
    await edit(/ +blastRadius: 5\n/, '');
  });

  it('C2: is rolled back when its answers are empty', async () => {
    await retry();
    fault({ empty: true });
    expect((await askUntilRolledBack()).reason).toBe('empty_output');
  });

  it('C2: is rolled back when it fails', async () => {
    await retry();
    fault({ fail: 1 });
    expect(['failed_at_once', 'high_error_rate']).toContain((await askUntilRolledBack()).reason);
  });

  it('C2: is rolled back when its answers end in loops', async () => {
    await retry();
    fault({ loop: true });
    expect((await askUntilRolledBack(40)).reason).toBe('repeated_output');
  });

  it('C1: goes to the baseline when the canary service hangs, and comes back with it', async () => {
    await retry();
    const { pid } = stack.child('canary');
    process.kill(pid, 'SIGSTOP');
    try {
      await eventually(async () => (await share()) === 0);
      expect((await ask()).variant).toBe('baseline');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(async () => (await share()) === 50);
  });

  it('C2: is warned of when its worker leaks, and goes no further', async () => {
    const found = await eventually(async () => {
      await ask();
      const now = await rollout();
      // Of this rollout: an earlier one may have been warned of as well.
      if (now.status !== 'warning' || !now.reason.includes('memory_leak')) throw new Error(`The rollout is ${now.status} (${now.reason}).`);
      return now;
    }, 150_000);
    expect(found).toMatchObject({ phase: 'running', percentage: 50, judgement: { memorySlopes: [{ low: expect.any(Number) }] } });
    expect(found.judgement?.memorySlopes[0]?.low).toBeGreaterThan(50);
  }, 180_000);

  it('C5: is deployed, watched and taken back by the scripts', async () => {
    await eventually(async () => (await command('deploy', '--percentage', '30', '--force')).includes('verified: the gateway sends 30 %'));
    expect(readFileSync(join(stack.config, 'canary.yaml'), 'utf8')).toContain('rolloutPercentage: 30');
    expect(await command('deploy', '--percentage', '40', '--dry-run', '--force')).toContain('dry run');
    const watched = join(temporaryFolder(), 'report.txt');
    // It leaks, so the command ends with 1.
    await command('monitor', '--duration', '0', '--output', watched).catch(() => undefined);
    expect(readFileSync(watched, 'utf8')).toMatch(/^=== Canary Monitoring ===\nRollout: 30%\n/);
    expect(await command('rollback')).toContain('rolled_back, canary at 0 %');
    expect(await share()).toBe(0);
    expect(readFileSync(join(stack.config, 'canary.yaml'), 'utf8')).toContain('rolloutPercentage: 0');
    expect(await command('rollback')).toBe('unchanged: rolled_back, canary at 0 %\n');
  });

  it('C5: is deployed for hours at each of the guide\'s shares, by stages of one\'s own, and taken back without a look', async () => {
    await command('deploy', '--percentage', '5', '--duration', '2', '--force');
    const hours = (percentage: number) => ({ percentage, holdMs: 7_200_000, gate: false });
    expect(await rollout()).toMatchObject({ percentage: 5, stages: [5, 10, 50, 100].map(hours) });
    await command('deploy', '--stages', '20,30:gate,60', '--duration', '0.5', '--force');
    expect(await rollout()).toMatchObject({ percentage: 20, stages: [{ percentage: 20, holdMs: 1_800_000, gate: false }, { percentage: 30, gate: true }, { percentage: 60 }] });
    const said = await command('rollback', '--force', '--reason', 'a test');
    expect(said).toContain('done: rolled_back, canary at 0 %');
    expect(said).not.toContain('verified');
    expect(await rollout()).toMatchObject({ phase: 'rolled_back', percentage: 0, reason: 'a test' });
    expect(readFileSync(join(stack.config, 'canary.yaml'), 'utf8')).toContain('rolloutPercentage: 0');
  });

  it('C3: is taken back by steps when a person asks for it, and at once when asked again', async () => {
    await command('deploy', '--percentage', '40', '--force');
    expect(await command('rollback', '--gradual')).toContain('rolling_back, canary at 10 %');
    expect(await share()).toBe(10);
    expect(await command('rollback')).toContain('rolled_back, canary at 0 %');
  });

  it('C3: gives what waits for its first token to the baseline when a rollback asks for it', async () => {
    await command('deploy', '--percentage', '99.999', '--force');
    fault({ slow_ms: 60_000 });
    const waiting = chat(stack, { maxTokens: 2 });
    await eventually(async () => (await metrics('gateway')).includes('mlx_serving_gateway_active_streams 1\n'));
    await command('rollback', '--move');
    expect(await waiting).toMatchObject({ status: 200, variant: 'baseline' });
    expect(await metrics('gateway')).toContain('mlx_serving_gateway_moved_requests_total 1\n');
    fault({});
  });

  it('C6: is counted by the metrics of the guide', async () => {
    const text = await metrics('canary');
    for (const name of ['requests_total{variant="canary"}', 'latency_p95_ms{variant="baseline"}', 'error_rate{variant="canary"}', 'rollbacks_total{reason="manual"}', 'rollback_triggers_total{trigger="memory_leak"}']) {
      expect(text).toContain(`mlx_serving_canary_${name}`);
    }
  });

  it('C2: is rolled back when its worker crashes', async () => {
    await command('deploy', '--percentage', '50', '--force');
    fault({ crash: true });
    expect(['worker_gone', 'failed_at_once', 'high_error_rate', 'worker_exits']).toContain((await askUntilRolledBack()).reason);
    expect((await ask()).status).toBe(200);
  });
});
