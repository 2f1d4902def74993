import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { Stack, stopAll } from './stack.ts';

let stack: Stack;

beforeAll(async () => {
  stack = await Stack.start();
});

afterAll(stopAll);

const flagsOf = async (user = 'someone'): Promise<readonly string[]> => (await chat(stack, { user, maxTokens: 1 })).flags;

describe('F14: a kill while Redis hangs', () => {
  it('holds at once for the next request, says that it is not durable, and is in Redis when that goes on', async () => {
    expect(await flagsOf()).toContain('ttft_pipeline');
    const redis = stack.child('redis').pid;
    process.kill(redis, 'SIGSTOP');
    try {
      const proof = await admin<{ durable: boolean; missing: string[]; acknowledged: object[] }>(stack, 'POST', '/admin/flags/ttft_pipeline/kill');
      expect(proof).toMatchObject({ durable: false, missing: [], acknowledged: [expect.anything()] });
      expect(await flagsOf()).not.toContain('ttft_pipeline');
    } finally {
      process.kill(redis, 'SIGCONT');
    }
    await eventually(async () => ((await admin<{ journalled: string[] }>(stack, 'GET', '/admin/store')).journalled.length === 0));
    await admin(stack, 'POST', '/admin/flags/ttft_pipeline/revive', { reason: 'end of the test' });
    expect(await flagsOf()).toContain('ttft_pipeline');
    expect(await admin(stack, 'GET', '/admin/audit/verify')).toMatchObject({ intact: true, problems: [] });
  });
});

describe('the preview of a draft', () => {
  it('counts the recent keys of the running gateway that would change', async () => {
    for (const user of ['user_1', 'user_2', 'user_3']) await flagsOf(user);
    const impact = await admin(stack, 'POST', '/admin/flags/ttft_pipeline/preview', { enabled: false });
    expect(impact).toMatchObject({ turned_on: 0, missing: [], answered: [expect.any(String)] });
    expect((impact as { turned_off: number }).turned_off).toBeGreaterThanOrEqual(3);
  });
});
