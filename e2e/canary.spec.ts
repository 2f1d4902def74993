import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CanaryRouter } from '@mlx-serving/client';
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

/** Changes the file, and waits until the gateway follows it. */
async function edit(from: string | RegExp, to: string, percentage: number): Promise<void> {
  const file = join(stack.config, 'canary.yaml');
  const before = readFileSync(file, 'utf8');
  const revision = Number((await chat(stack, { user: 'revision', maxTokens: 1 })).revision.split('routing=')[1]);
  expect(before.replace(from, to)).not.toBe(before);
  writeFileSync(file, before.replace(from, to));
  await eventually(async () => {
    const now = Number((await chat(stack, { user: 'revision', maxTokens: 1 })).revision.split('routing=')[1]);
    return now > revision && (await health()).percentage === percentage;
  });
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

  it('C1: keeps everybody whom it has when its share grows', async () => {
    const before = await variants();
    await edit('rolloutPercentage: 50', 'rolloutPercentage: 80', 80);
    const after = await variants();
    const had = users.filter((user) => before[user] === 'canary');
    expect(had.length).toBeGreaterThan(0);
    expect(had.filter((user) => after[user] !== 'canary')).toEqual([]);
    expect(users.filter((user) => after[user] === 'canary').length).toBeGreaterThan(had.length);
    await edit('rolloutPercentage: 80', 'rolloutPercentage: 50', 50);
  });

  it('C1: is given to whole teams when a header is the key, whoever asks, as the library would', async () => {
    await edit('hashKey: user_id', 'hashKey: header:x-team', 50);
    // The file may be followed by the service a moment before the gateway has the table.
    const router = new CanaryRouter({ enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'header:x-team', enableCache: false, cacheSize: 1 });
    const teams = ['red', 'blue', 'green', 'white', 'black', 'grey'];
    const asked = () => Promise.all(teams.flatMap((team) => ['ann', 'bob'].map(async (user) => [team, (await chat(stack, { user, maxTokens: 2, headers: { 'x-team': team } })).variant])));
    const expected = teams.flatMap((team) => [team, team].map((same) => [same, router.route(same).variant]));
    expect(new Set(expected.map(([, variant]) => variant)).size).toBe(2);
    await eventually(async () => expect(await asked()).toEqual(expected));
    await edit('hashKey: header:x-team', 'hashKey: user_id', 50);
  });

  it('C1: answers a share of the requests once more in the shadow, while it has none of them, and its answers are compared', async () => {
    const shadow = async () => (await admin<{ shadow: { requests: number; failed: number; different: number } }>(stack, 'GET', '/admin/canary')).shadow;
    expect(await shadow()).toMatchObject({ requests: 0 });
    await edit(/rolloutPercentage: 50\n/, 'rolloutPercentage: 0\n  shadow: { percentage: 100 }\n', 0);
    expect(new Set(Object.values(await variants()))).toEqual(new Set(['baseline']));
    // At most two at one time: the others are left out.
    expect(await eventually(async () => (await shadow()).requests > 0 && shadow())).toMatchObject({ failed: 0, different: 0 });
    await edit('rolloutPercentage: 0\n  shadow: { percentage: 100 }\n', 'rolloutPercentage: 50\n', 50);
  });

  it('C2: is judged by nothing while requests do not fall as its share says', async () => {
    // Of all users only those come whose place is the canary's: as if a broken client had the others elsewhere.
    const router = new CanaryRouter({ enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'user_id', enableCache: false, cacheSize: 1 });
    const chosen = Array.from({ length: 400 }, (_, index) => `one-sided-${index}`).filter((user) => router.route(user).variant === 'canary');
    // Slow requests are only the canary's now, too, which is no finding.
    const file = join(stack.config, 'canary.yaml');
    const [before, reloads] = [readFileSync(file, 'utf8'), stack.reloadsOf('canary')];
    writeFileSync(file, before.replace(/ +- name: high_latency\n.*\n.*\n/, ''));
    await eventually(() => stack.reloadsOf('canary') > reloads);
    await toolOf(stack, 'mlx-serving.sh', 'canary', 'deploy', '--stages', '50,100', '--force');
    expect(new Set(await Promise.all(chosen.slice(0, 80).map(variantOf)))).toEqual(new Set(['canary']));
    await eventually(async () => (await health()).status === 'sample_ratio_mismatch');
    expect(await (await fetch(`${stack.urls.operations['canary']}/metrics`)).text()).toContain('mlx_serving_canary_sample_ratio_mismatch 1\n');
    expect(await admin(stack, 'GET', '/admin/canary/argo')).toMatchObject({ data: { ok: false, failed: false, inconclusive: true, status: 'sample_ratio_mismatch' } });
    writeFileSync(file, before);
    await eventually(() => stack.reloadsOf('canary') > reloads + 1);
    await toolOf(stack, 'mlx-serving.sh', 'canary', 'deploy', '--percentage', '50', '--force');
  });
});

describe('two workers that are alike', () => {
  it('C2: leave the canary alone, however busy the machine is', async () => {
    for (let index = 0; index < 120; index++) await chat(stack, { user: `alike-${index}`, maxTokens: 2 });
    expect(await admin(stack, 'GET', '/admin/canary/rollout')).toMatchObject({ phase: 'running', percentage: 50 });
  });
});

describe('a webhook that is asked before a stage', () => {
  it('C7: keeps the share of a person and of the file while it refuses, and the file is followed when it agrees', async () => {
    let answer = 409;
    const asked: { event: string; next?: { percentage: number } }[] = [];
    const server = createServer((request, response) => {
      request.on('data', (body: Buffer) => asked.push(JSON.parse(body.toString()) as (typeof asked)[number]));
      request.on('end', () => response.writeHead(answer).end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const [file, secret] = [join(stack.config, 'canary.yaml'), join(stack.config, 'webhook-secret')];
    const before = readFileSync(file, 'utf8');
    writeFileSync(secret, 'secret');
    const reloads = stack.reloadsOf('canary');
    const hooked = `${before}\nwebhooks:\n  - { when: before, url: "http://127.0.0.1:${port}/", secretFile: "${secret}" }\n`;
    writeFileSync(file, hooked);
    await eventually(() => stack.reloadsOf('canary') > reloads);
    try {
      await expect(toolOf(stack, 'mlx-serving.sh', 'canary', 'deploy', '--percentage', '70')).rejects.toThrow(/A webhook refuses the step/);
      writeFileSync(file, hooked.replace('rolloutPercentage: 50', 'rolloutPercentage: 60'));
      const reason = async () => (await admin<{ reason: string }>(stack, 'GET', '/admin/canary/rollout')).reason;
      await eventually(async () => (await reason()) === 'a webhook refuses the share in config/canary.yaml');
      expect([(await health()).percentage, asked.map(({ next }) => next?.percentage)]).toEqual([50, expect.arrayContaining([70, 60])]);
      answer = 204;
      await eventually(async () => (await health()).percentage === 60);
    } finally {
      writeFileSync(file, before);
      server.close();
    }
    await eventually(async () => (await health()).percentage === 50);
  }, 60_000);
});

describe('a rollout in stages', () => {
  const canary = (...args: string[]): Promise<string> => toolOf(stack, 'mlx-serving.sh', 'canary', ...args);

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

describe('a canary service that hears nothing', () => {
  it('C7: is frozen, and says so', async () => {
    await toolOf(stack, 'mlx-serving.sh', 'canary', 'deploy', '--percentage', '50', '--force');
    // The commands before have asked for nothing to be generated, and neither does anything here.
    const found = await eventually(async () => {
      const now = await admin<{ status: string; reason: string; judgement?: { safe?: boolean }; percentage: number }>(stack, 'GET', '/admin/canary/rollout');
      if (now.status !== 'frozen' || !now.judgement) throw new Error(`The rollout is ${now.status}.`);
      return now;
    }, 60_000);
    expect(found).toMatchObject({ reason: expect.stringMatching(/^no report for \d+ s$/), percentage: 50 });
    expect(found.judgement?.safe).not.toBe(true);
    await eventually(async () => (await health()).status === 'frozen');
    await chat(stack, { user: 'somebody', maxTokens: 2 });
    await eventually(async () => (await health()).status !== 'frozen');
  }, 90_000);
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
