import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { admin, chat, output } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, root, Stack } from './stack.ts';

interface Rollout {
  readonly id: string;
  readonly phase: string;
  readonly percentage: number;
  readonly reason: string;
  readonly history: readonly { readonly event: string; readonly actor: string }[];
}

let stack: Stack;

beforeAll(async () => {
  const config = copyOfConfig();
  const file = join(config, 'canary.yaml');
  const text = readFileSync(file, 'utf8').replace(/rolloutPercentage: \S+/, 'rolloutPercentage: 50').replace('hashKey: user_id', 'hashKey: request_id').replace('intervalMs: 5000', 'intervalMs: 500');
  writeFileSync(file, text);
  stack = await Stack.start({ canary: true, config });
});

afterAll(() => stack?.stop());

const rollout = (): Promise<Rollout> => admin<Rollout>(stack, 'GET', '/admin/canary/rollout');
const share = async (): Promise<number> => ((await (await fetch(`${stack.urls.gateway}/health/canary`)).json()) as { canary: { percentage: number } }).canary.percentage;
const ask = (): Promise<{ variant: string; status: number }> => chat(stack, { maxTokens: 2 });
const rollbacks = ({ history }: Rollout): number => history.filter(({ event }) => event === 'rolled_back').length;
const command = (name: string, ...args: string[]): Promise<string> =>
  output(['env', `MLX_SERVING_ADMIN_URL=${stack.urls.admin}`, `MLX_SERVING_GATEWAY_URL=${stack.urls.gateway}`, `MLX_SERVING_ADMIN_TOKEN_FILE=${stack.urls.adminTokenFile}`, join(root, 'tools', `${name}-canary.sh`), ...args]);

/** Makes a process slow: it runs for a quarter of the time. @returns what makes it quick again */
function slowDown(pid: number): () => void {
  let stopped = false;
  const turn = async (): Promise<void> => {
    while (!stopped) {
      process.kill(pid, 'SIGSTOP');
      await delay(150);
      process.kill(pid, 'SIGCONT');
      await delay(50);
    }
  };
  const turning = turn().catch(() => undefined);
  return () => {
    stopped = true;
    void turning;
  };
}

describe('a canary on a second worker', () => {
  it('is left alone while both are alike', async () => {
    for (let index = 0; index < 120; index++) await ask();
    expect(await rollout()).toMatchObject({ phase: 'running', percentage: 50, reason: '' });
  });

  it('is rolled back when its worker becomes slow, on the gateway too, and once', async () => {
    const recover = slowDown(stack.child('canary-worker').pid);
    try {
      await eventually(async () => {
        await ask();
        return (await share()) === 0;
      }, 45_000);
    } finally {
      recover();
    }
    expect(await rollout()).toMatchObject({ phase: 'rolled_back', percentage: 0, reason: 'high_latency' });
    expect(rollbacks(await rollout())).toBe(1);
    const variants = await Promise.all(Array.from({ length: 8 }, ask));
    expect(variants.every(({ variant, status }) => variant === 'baseline' && status === 200)).toBe(true);
  });

  it('stays rolled back when the canary service is killed: one rollout, one rollback', async () => {
    const before = await rollout();
    const { pid } = stack.child('canary');
    process.kill(pid, 'SIGKILL');
    await eventually(() => stack.child('canary').pid !== pid, 30_000);
    const after = await eventually(rollout);
    expect(after).toMatchObject({ id: before.id, phase: 'rolled_back', percentage: 0 });
    expect(after.history).toEqual(before.history);
    await eventually(async () => (await fetch(`${stack.urls.gateway}/health/ready`)).ok);
    expect(await share()).toBe(0);
  });

  it('is deployed, watched and taken back by the scripts', async () => {
    await eventually(async () => (await command('deploy', '--percentage', '30', '--force')).includes('verified: the gateway sends 30 %'));
    expect(await command('deploy', '--percentage', '40', '--dry-run', '--force')).toContain('dry run');
    expect(await command('monitor', '--duration', '0')).toMatch(/^=== Canary Monitoring ===\nRollout: 30%\n/);
    expect(await command('rollback')).toContain('rolled_back, canary at 0 %');
    await eventually(async () => (await share()) === 0);
  });

  it('is rolled back when its worker dies', async () => {
    await command('deploy', '--percentage', '50', '--force');
    process.kill(stack.child('canary-worker').pid, 'SIGKILL');
    const found = await eventually(async () => {
      const now = await rollout();
      return now.phase === 'rolled_back' && now;
    });
    expect(found).toMatchObject({ reason: 'worker_gone', percentage: 0 });
    expect((await ask()).status).toBe(200);
  });
});
