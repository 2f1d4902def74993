import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { admin, chat, toolOf } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, Stack, stopAll } from './stack.ts';

/** The form that the specification gives to GET /health/canary. */
interface CanaryHealth {
  readonly canary: {
    readonly enabled: boolean;
    readonly percentage: number;
    readonly requests: { readonly baseline: number; readonly canary: number };
    readonly metrics: Readonly<Record<'baseline' | 'canary', { readonly p95Latency: number | null; readonly errorRate: number }>>;
    readonly status: string;
  };
}

let stack: Stack;
const users = Array.from({ length: 24 }, (_, index) => `user-${index}`);

beforeAll(async () => {
  const config = copyOfConfig();
  const file = join(config, 'canary.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/rolloutPercentage: \S+/, 'rolloutPercentage: 50'));
  stack = await Stack.start({ canary: true, config });
  // A canary worker that the gateway has not met yet gets nobody, and that is right.
  await eventually(async () => (await readiness()).workers.canary.serving === 1);
});

afterAll(stopAll);

const variantOf = async (user: string): Promise<string> => (await chat(stack, { user, maxTokens: 2 })).variant;
const health = async (): Promise<CanaryHealth['canary']> => ((await (await fetch(`${stack.urls.gateway}/health/canary`)).json()) as CanaryHealth).canary;

async function readiness(): Promise<{ workers: { canary: { serving: number } } }> {
  const response = await fetch(`${stack.urls.operations['gateway']}/health/ready`);
  return (await response.json()) as { workers: { canary: { serving: number } } };
}

async function variants(): Promise<Record<string, string>> {
  const pairs: [string, string][] = [];
  for (const user of users) pairs.push([user, await variantOf(user)]);
  return Object.fromEntries(pairs);
}

describe('a canary at 50 %', () => {
  it('C1: gets about half of the users, and each user always the same variant', async () => {
    const first = await variants();
    const share = Object.values(first).filter((variant) => variant === 'canary').length / users.length;
    expect(share).toBeGreaterThan(0.2);
    expect(share).toBeLessThan(0.8);
    expect(await variants()).toEqual(first);
  });

  it('answers what the baseline answers', async () => {
    const both = await Promise.all(users.slice(0, 8).map((user) => chat(stack, { user })));
    expect(new Set(both.map(({ variant }) => variant)).size).toBe(2);
    expect(new Set(both.map(({ text }) => text)).size).toBe(1);
  });

  it('C4: is shown by /health/canary in the form of the specification', async () => {
    const shown = await eventually(async () => {
      const { requests, ...rest } = await health();
      return requests.baseline > 0 && requests.canary > 0 && { requests, ...rest };
    });
    expect(shown).toEqual({
      enabled: true,
      percentage: 50,
      requests: { baseline: expect.any(Number), canary: expect.any(Number) },
      metrics: {
        baseline: { p95Latency: expect.any(Number), errorRate: 0 },
        canary: { p95Latency: expect.any(Number), errorRate: 0 },
      },
      status: expect.any(String),
    });
  });

  it('gets nobody while the rollback to the baseline is on', async () => {
    await admin(stack, 'POST', '/admin/emergency', { rollback_to_baseline: true, reason: 'a test' });
    expect(new Set(Object.values(await variants()))).toEqual(new Set(['baseline']));
    await admin(stack, 'POST', '/admin/emergency', { rollback_to_baseline: false, reason: 'a test' });
    expect(new Set(Object.values(await variants())).size).toBe(2);
  });

  it('follows the file: at 0 % nobody is on the canary', async () => {
    const file = join(stack.config, 'canary.yaml');
    const before = readFileSync(file, 'utf8');
    writeFileSync(file, before.replace('rolloutPercentage: 50', 'rolloutPercentage: 0'));
    await eventually(async () => (await health()).percentage === 0);
    expect(new Set(Object.values(await variants()))).toEqual(new Set(['baseline']));
    writeFileSync(file, before);
  });
});

describe('two workers that are alike', () => {
  it('C2: leave the canary alone, however busy the machine is', async () => {
    for (let index = 0; index < 120; index++) await chat(stack, { user: `alike-${index}`, maxTokens: 2 });
    expect(await admin(stack, 'GET', '/admin/canary/rollout')).toMatchObject({ phase: 'running', percentage: 50 });
  });
});

describe('a rollout in stages', () => {
  const canary = (...args: string[]): Promise<string> => toolOf(stack, 'mlx-serving.sh', 'canary', ...args);
  const rollout = () => admin<{ phase: string; percentage: number; history: { event: string; actor: string }[] }>(stack, 'GET', '/admin/canary/rollout');

  it('C7: is left on evidence, until the canary has everything', async () => {
    // This is about good evidence: of two processes on a busy machine one may well be slower.
    const file = join(stack.config, 'canary.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/ +- name: high_latency\n.*\n.*\n/, ''));
    await eventually(() => stack.reloadsOf('canary') > 0);
    expect(await canary('deploy', '--stages', '50,100', '--force')).toContain('running, canary at 50 %');
    let [asked, promoted] = [0, false];
    const askOn = async (): Promise<void> => {
      for (; asked < 6_000 && !promoted; asked++) await chat(stack, { user: `staged-${asked}`, maxTokens: 2 });
    };
    const watch = eventually(async () => (await rollout()).phase === 'promoted', 240_000).finally(() => (promoted = true));
    await Promise.all([watch, askOn(), askOn(), askOn()]);
    const { percentage, history } = await rollout();
    expect(percentage).toBe(100);
    expect(history.slice(-2).map(({ event, actor }) => [event, actor])).toEqual([['started', 'cli (root)'], ['promoted', 'controller']]);
    expect(await variantOf('anybody')).toBe('canary');
  }, 300_000);

  it('C7: is paused, resumed, promoted, aborted and retried, and asking twice changes nothing', async () => {
    await canary('deploy', '--stages', '20,40', '--force');
    const steps: [string[], string][] = [
      [['pause'], 'paused, canary at 20 %'],
      [['resume'], 'running, canary at 20 %'],
      [['promote', '--key', 'the-step'], 'running, canary at 40 %'],
      [['abort'], 'aborted, canary at 0 %'],
      [['retry', '--force'], 'running, canary at 20 %'],
    ];
    for (const [[name = '', ...options], what] of steps) {
      expect(await canary(name, ...options)).toBe(`done: ${what}\n`);
      expect(await canary(name, ...options)).toBe('it was so already\n');
      // Without its key one more promotion is one more step.
      if (name !== 'promote') expect(await admin(stack, 'POST', `/admin/canary/${name}`, {})).toMatchObject({ success: true, changed: false });
    }
  }, 180_000);
});

describe('the states that controllers show', () => {
  it.each(['qos', 'canary'])('%s holds the reports with their decisions', async (controller) => {
    const { flags } = await chat(stack, { user: 'reported', maxTokens: 2 });
    expect(flags).toContain('phase4_rollout');
    const text = await eventually(async () => {
      const state = JSON.stringify(await admin(stack, 'GET', `/admin/${controller}`));
      return state.includes('phase4_rollout') && state;
    });
    expect(text).toMatch(/"variant":"(baseline|canary)"/);
    expect(text).not.toContain('Explain the canary.');
  });

  it('are not shown without the token', async () => {
    const response = await fetch(`${stack.urls.admin}/admin/qos`);
    expect(response.status).toBe(401);
  });
});
