import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { isAlive } from '../tools/start/processes.ts';
import { Stack, stopAll } from './stack.ts';

/** The proof that a change was applied. */
interface Proof {
  readonly revision: number;
  readonly acknowledged: readonly { replica: string; milliseconds: number }[];
  readonly missing: readonly string[];
}

let stack: Stack;

beforeAll(async () => {
  stack = await Stack.start();
});

afterAll(stopAll);

const flagsOf = async (user = 'someone'): Promise<readonly string[]> => (await chat(stack, { user, maxTokens: 1 })).flags;

describe('a kill', () => {
  afterEach(() => admin(stack, 'POST', '/admin/flags/ttft_pipeline/revive', { reason: 'end of the test' }));

  it('is proven by every gateway, and holds for the next request until it is revived', async () => {
    expect(await flagsOf()).toContain('ttft_pipeline');
    const proof = await admin<Proof>(stack, 'POST', '/admin/flags/ttft_pipeline/kill', { reason: 'a test' });
    expect(proof.revision).toBeGreaterThan(0);
    expect(proof.acknowledged).toEqual([expect.objectContaining({ milliseconds: expect.any(Number) })]);
    expect(proof.missing).toEqual([]);
    expect((await flagsOf()).filter((flag) => flag.startsWith('ttft_pipeline'))).toEqual([]);
    await admin(stack, 'POST', '/admin/flags/ttft_pipeline/revive', { reason: 'a test' });
    expect(await flagsOf()).toContain('ttft_pipeline');
  });

  it('is not lifted by an edit, nor by a reload of the file', async () => {
    await admin(stack, 'POST', '/admin/flags/ttft_pipeline/kill', { reason: 'a test' });
    await admin(stack, 'POST', '/admin/flags/ttft_pipeline', { enabled: true, rolloutPercentage: 100, killSwitch: false });
    const before = stack.reloadsOf('flags');
    appendFileSync(join(stack.config, 'feature-flags.yaml'), '\n# edited\n');
    process.kill(Number(readFileSync(stack.urls.pidFile, 'utf8')), 'SIGHUP');
    await eventually(() => stack.reloadsOf('flags') > before);
    expect(await flagsOf()).not.toContain('ttft_pipeline');
  });
});

describe('the global emergency', () => {
  it('turns every flag off, and back on when it is over', async () => {
    await admin(stack, 'POST', '/admin/emergency', { kill_switch: true, reason: 'a test' });
    expect(await flagsOf()).toEqual([]);
    await admin(stack, 'POST', '/admin/emergency', { kill_switch: false, reason: 'a test' });
    expect(await flagsOf()).toContain('phase4_rollout');
  });
});

describe('the file of flags', () => {
  const file = (): string => join(stack.config, 'feature-flags.yaml');
  const edit = (change: (text: string) => string): void => writeFileSync(file(), change(readFileSync(file(), 'utf8')));

  it('is read again when it changes', async () => {
    expect(await flagsOf()).not.toContain('http2_transport');
    edit((text) => text.replace(/(http2_transport:\n\s+enabled: )false(\n\s+rollout_percentage: )0/, '$1true$2100'));
    await eventually(async () => (await flagsOf()).includes('http2_transport'));
  });

  it('changes nothing when it has a mistake, and the log names the place', async () => {
    const before = await flagsOf();
    const good = readFileSync(file(), 'utf8');
    edit((text) => text.replace('rollout_percentage: 100', 'rollout_percentage: 1000'));
    await eventually(() => /feature-flags\.yaml:\d+:\d+/.test(stack.log('flags')));
    expect(await flagsOf()).toEqual(before);
    writeFileSync(file(), good);
  });
});

describe('a gateway that starts while the flag service hangs', () => {
  it('decides from the last snapshot on disk', async () => {
    const before = await flagsOf();
    const [flags, gateway] = [stack.child('flags').pid, stack.child('gateway').pid];
    process.kill(flags, 'SIGSTOP');
    try {
      process.kill(gateway, 'SIGKILL');
      await eventually(() => !isAlive(gateway));
      expect(await eventually(() => flagsOf())).toEqual(before);
      expect(stack.child('gateway').pid).not.toBe(gateway);
    } finally {
      process.kill(flags, 'SIGCONT');
    }
  });
});
