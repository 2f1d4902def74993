import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, Stack, stopAll, temporaryFolder } from './stack.ts';

const SETTING = 16;
/** Enough that the limit is reached, so that a learning governor has something to learn from. */
const CALLERS = 24;
/** By how much the first tokens of the slow worker are late. */
const SLOW_MS = 1_000;

let stack: Stack;
let faultFile: string;
let asking = false;
let asked: Promise<unknown>[] = [];

const gatewayMetric = async (name: string): Promise<number> => Number(new RegExp(`^mlx_serving_gateway_${name.replaceAll(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(await (await fetch(`${stack.urls.operations['gateway']}/metrics`)).text())?.[1]);
const limit = (): Promise<number> => gatewayMetric('concurrency_limit');
const governs = async (kind: string): Promise<boolean> => (await gatewayMetric(`governor{kind="${kind}"}`)) === 1;
const late = (ms: number): void => writeFileSync(faultFile, JSON.stringify(ms === 0 ? {} : { worker: { slow_ms: ms } }));
const askOnce = (name: string): Promise<unknown> => chat(stack, { maxTokens: 2, messages: [{ role: 'user', content: `Explain the canary ${name}.` }] });
const askWith = (headers: Record<string, string>): Promise<Response> =>
  fetch(`${stack.urls.gateway}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ model: 'tiny', max_tokens: 2, messages: [{ role: 'user', content: 'Hello.' }] }) });
const positionOf = ({ headers }: Response): number => Number(headers.get('x-mlx-serving-queue-position'));

function ask(): void {
  asking = true;
  asked = Array.from({ length: CALLERS }, async (_, caller) => {
    for (let turn = 0; asking; turn++) await askOnce(`${caller}, ${turn}`);
  });
}

/** Nobody asks any more, so that nothing moves the limit. */
async function rest(): Promise<void> {
  asking = false;
  await Promise.all(asked);
}

/** The governor is chosen anew at each finished request. One alone is no load, so what comes next is where the limit was. */
async function handOver(kind: string): Promise<void> {
  await eventually(async () => {
    await askOnce(kind);
    return governs(kind);
  });
}

function configure(algorithm: string): void {
  const path = join(stack.config, 'runtime.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace(/algorithm: \w+/, `algorithm: ${algorithm}`));
}

const adaptive = (enabled: boolean): Promise<unknown> => admin(stack, 'POST', '/admin/flags/adaptive_governor', { enabled, rolloutPercentage: enabled ? 100 : 0, reason: 'test' });

beforeAll(async () => {
  const config = copyOfConfig();
  const path = join(config, 'runtime.yaml');
  const text = readFileSync(path, 'utf8');
  const withoutPolicies = `${text.slice(0, text.indexOf('    policies:\n'))}    policies: []\n\n${text.slice(text.indexOf('# Admission'))}`;
  writeFileSync(path, withoutPolicies.replace('max_concurrent_streams: 64', `max_concurrent_streams: ${SETTING}\n  min_concurrent_streams: 4\n  algorithm: fixed`));
  faultFile = join(temporaryFolder(), 'faults.json');
  late(0);
  stack = await Stack.start({ config, env: { MLX_WORKER_FAULT: faultFile } });
});

afterAll(async () => {
  await rest();
  await stopAll();
});

describe('the governor', () => {
  it('Q7: is the gradient as soon as the file says so, which begins where the fixed limit was', async () => {
    await handOver('fixed');
    expect(await limit()).toBe(SETTING);
    configure('gradient');
    await handOver('gradient');
    expect(await limit()).toBe(SETTING);
  });

  it('Q7: takes fewer requests to the worker when its first tokens become late', async () => {
    ask();
    const before = await gatewayMetric('queue_seconds_count{priority="normal"}');
    await eventually(async () => (await gatewayMetric('queue_seconds_count{priority="normal"}')) > before + 4 * CALLERS);
    late(SLOW_MS);
    await eventually(async () => (await limit()) < SETTING - 4, 50_000);
    expect(await gatewayMetric('active_streams')).toBeLessThanOrEqual(SETTING);
  });

  it('Q7: is the PID controller by the flag, and the gradient again without it, each from where the limit was', async () => {
    await rest();
    late(0);
    const learnt = await limit();
    expect(learnt).toBeLessThan(SETTING);
    await adaptive(true);
    await handOver('pid');
    expect(await limit()).toBe(learnt);
    await adaptive(false);
    await handOver('gradient');
    expect(await limit()).toBe(learnt);
  });

  it('Q7: is back at the setting, its ceiling, once the worker is fast', async () => {
    ask();
    await eventually(async () => (await limit()) === SETTING, 50_000);
  });
});

describe('admission, while more ask than there are places', () => {
  beforeAll(() => late(SLOW_MS));

  it('Q8: refuses at once who cannot make its deadline, with 503 and a time to try again after', async () => {
    const refused = await eventually(async () => {
      const response = await askWith({ 'x-request-timeout-ms': String(SLOW_MS + 100) });
      const text = await response.text();
      expect([response.status, text]).toEqual([503, expect.stringContaining('deadline_unreachable')]);
      return response;
    }, 50_000);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  });

  it('Q8: lets a tenant that has asked for little go before the backlog of another', async () => {
    const { secret } = await admin<{ secret: string }>(stack, 'POST', '/admin/keys', { name: 'small' });
    await eventually(async () => {
      const [own, other] = await Promise.all([askWith({}), askWith({ authorization: `Bearer ${secret}` })]);
      expect([own.status, other.status]).toEqual([200, 200]);
      expect(positionOf(own)).toBeGreaterThanOrEqual(3);
      expect(positionOf(other)).toBeLessThanOrEqual(1);
    }, 50_000);
  });
});
