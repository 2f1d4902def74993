import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { contentOf } from '../tools/start/first-answer.ts';
import { portsFor } from '../tools/start/ports.ts';
import { admin } from './clients.ts';
import { eventually } from './eventually.ts';
import { freeOffset, Stack, stopAll, temporaryFolder } from './stack.ts';
import { WorkerProcess } from './worker-process.ts';

let stack: Stack;
/** The worker that the tests kill, hold and have fail, which joins by itself; the stack's own stays. */
let second: WorkerProcess;
const faultFile = join(temporaryFolder(), 'faults.json');

const topics = ['canary', 'kill switch', 'worker', 'gateway', 'flag', 'rollback'];
const END_OF_ANSWER = 0;
const LONG = 120;
const MOST_TRIES = 3;

/** Of a test's own, so that no worker knows them: half of them greedy, half drawn with a seed; none ends before its length. */
function requestsOf(test: string, maxTokens = LONG): object[] {
  return topics.map((topic, at) => ({
    model: 'tiny',
    stream: true,
    max_tokens: maxTokens,
    logit_bias: { [END_OF_ANSWER]: -100 },
    messages: [{ role: 'user', content: `${test}: explain the ${topic}.` }],
    ...(at % 2 === 0 ? { temperature: 0 } : { temperature: 0.8, seed: 100 + at }),
  }));
}

beforeAll(async () => {
  fail(0);
  process.env['MLX_WORKER_FAULT'] = faultFile;
  const [offset, other] = [await freeOffset(), portsFor(await freeOffset())];
  second = new WorkerProcess(other.worker, other.workerOperations, `127.0.0.1:${portsFor(offset).gatewayGrpc}`);
  const started = second.start();
  stack = await Stack.start({ offset });
  await started;
  // On a busy machine the first tokens are late, and qos would turn the limit that a test sets.
  configure({ probe_interval_ms: 200, missed_probes: 2, threshold: 1_000_000, open_ms: 200, longest_open_ms: 2_000 });
  await Promise.all([reloaded('gateway'), serving(2)]);
}, 120_000);

afterAll(async () => {
  await second.kill();
  await stopAll();
});

describe('a worker that is killed', () => {
  it('in the middle of answers has each go on at another one, greedy or seeded, with the text of the undisturbed one', async () => {
    await goesOn(requestsOf('Killed'), () => second.kill(), () => second.start());
  });

  it('before the first token has its requests answered by another one, and returns when it is there again', async () => {
    const before = await metric('worker_retries_total');
    second.signal('SIGSTOP');
    const answers = requestsOf('Held', 20).map((body) => textOf(post(body)));
    // What is left is held by the one that stands still.
    await Promise.race(answers);
    await second.kill();
    expect((await Promise.all(answers)).every((text) => text !== '')).toBe(true);
    expect(await metric('worker_retries_total')).toBeGreaterThan(before);
    await serving(1);
    await second.start();
    await serving(2);
    await Promise.all(requestsOf('Back', 4).map((body) => textOf(post(body))));
    expect(await workerMetric('requests_total{outcome="ok"}')).toBeGreaterThan(0);
  });
});

describe('a worker that is stuck', () => {
  it('loses its answers to another one, is left out, and returns', async () => {
    await goesOn(requestsOf('Stuck'), () => void second.signal('SIGSTOP'), async () => {
      await serving(1);
      second.signal('SIGCONT');
    });
    await eventually(async () => (await workerMetric('running_requests')) === 0);
  });
});

describe('a worker that fails', () => {
  it('gets nothing but trials once its circuit is open, and is back when one goes well', async () => {
    const before = await events('circuit open');
    fail(1);
    for (let at = 0; (await events('circuit open')) === before; at++) await ask(`Failing ${at}`);
    const opened = await events('circuit open');
    let failed = 0;
    for (let at = 0; at < 20; at++) if (!(await ask(`Open ${at}`))) failed++;
    // Whoever met it met it as a trial, which has opened the circuit again.
    expect((await events('circuit open')) - opened).toBe(failed);
    const closed = await events('circuit closed');
    fail(0);
    for (let at = 0; (await events('circuit closed')) === closed; at++) await ask(`Mended ${at}`);
    const served = await workerMetric('requests_total{outcome="ok"}');
    for (let at = 0; (await workerMetric('requests_total{outcome="ok"}')) === served; at++) expect(await ask(`Back ${at}`)).toBe(true);
  });
});

describe('a full queue', () => {
  it('refuses at once with 429 and a time to retry after, and forgets at once who leaves it', async () => {
    const requests = requestsOf('Full', 1_500);
    await admit(1, 2);
    const running = await begin(requests[0]);
    const [first, gone] = [new AbortController(), new AbortController()];
    const queued = [post(requests[1], first.signal), post(requests[2], gone.signal)] as const;
    await eventually(async () => (await metric('queue_depth')) === 2);
    const refused = await post(requests[3]);
    expect([refused.status, Number(refused.headers.get('retry-after')) >= 1]).toEqual([429, true]);
    gone.abort();
    await expect(queued[1]).rejects.toThrow();
    await eventually(async () => (await metric('queue_depth')) === 1);
    await running.reader.cancel();
    const admitted = await queued[0];
    expect([admitted.status, admitted.headers.get('x-mlx-serving-queue-position')]).toEqual([200, expect.stringMatching(/^[01]$/)]);
    first.abort();
    await admit(64, 256);
  });
});

describe('a deadline', () => {
  it('ends a request with 504, and its work at the worker', async () => {
    const answer = await post({ ...requestsOf('Late', 1_500)[0], stream: false }, undefined, { 'x-request-timeout-ms': '60' });
    expect(answer.status).toBe(504);
    await idle();
  });
});

describe('a client that goes away', () => {
  it('frees its place at the worker, while the prompt is read, while the answer streams, and while it is made unstreamed', async () => {
    const [body] = requestsOf('Gone', 1_500);
    const long = { ...body, messages: [{ role: 'user', content: 'A flag is turned on for a share of the users. '.repeat(60) }] };
    for (const leave of [
      () => leaveEarly(long),
      async () => (await begin(body)).reader.cancel(),
      () => leaveEarly({ ...body, stream: false }),
    ]) {
      const before = await cancelled();
      await leave();
      await idle();
      await eventually(async () => (await cancelled()) > before);
    }
  });
});

describe('a worker that joins as the canary', () => {
  it('gets the share of the canary, and is watched: the rollout is taken back when it is gone', async () => {
    const ports = portsFor(await freeOffset());
    const joined = new WorkerProcess(ports.worker, ports.workerOperations, stack.urls.gatewayGrpc, 'canary');
    const rollout = () => admin<{ phase: string; reason: string; judgement?: { canaryUnits: number } }>(stack, 'GET', '/admin/canary/rollout');
    await expect(admin(stack, 'POST', '/admin/canary/deploy', { percentage: 99.999 })).rejects.toThrow(/NO_CANARY_WORKER/);
    try {
      await joined.start();
      await eventually(async () => (await metric('serving_workers{variant="canary"}')) === 1);
      await eventually(async () => admin(stack, 'POST', '/admin/canary/deploy', { percentage: 99.999 }));
      await eventually(async () => (await post(requestsOf('Joined', 4)[0])).headers.get('x-mlx-serving-variant') === 'canary');
      await eventually(async () => Number((await rollout()).judgement?.canaryUnits ?? 0) > 0);
    } finally {
      await joined.kill();
    }
    expect(await eventually(async () => (await rollout()).phase === 'rolled_back' && rollout())).toMatchObject({ reason: 'worker_gone' });
    expect(await textOf(post(requestsOf('After', 4)[0]))).not.toBe('');
  });
});

describe('SIGTERM', () => {
  it('cuts no stream, and says while it drains that it is not ready', async () => {
    const streams = await Promise.all(requestsOf('Drained').map(begin));
    process.kill(stack.child('gateway').pid, 'SIGTERM');
    const bodies = Promise.all(streams.map(whole));
    await eventually(async () => (await fetch(`${String(stack.urls.operations['gateway'])}/health/ready`)).status === 503);
    expect((await bodies).filter((body) => !body.trimEnd().endsWith('data: [DONE]'))).toEqual([]);
    await eventually(() => /"cut":0[^\n]*"drained"/.test(stack.log('gateway')));
  });
});

/** Has the second worker fail so large a share of its requests. */
function fail(share: number): void {
  writeFileSync(faultFile, JSON.stringify({ second: { fail: share } }));
}

/** One request with a prompt of its own, which falls to either worker. @returns whether it was answered */
async function ask(prompt: string): Promise<boolean> {
  const response = await post({ model: 'tiny', max_tokens: 2, messages: [{ role: 'user', content: prompt }] });
  await response.text();
  return response.ok;
}

/**
 * Disturbs the second worker while it answers: every text must be that of the undisturbed run. Where the machine was so
 * slow that the answers had ended by then, it is done again.
 */
async function goesOn(requests: readonly object[], disturb: () => Promise<void> | void, mend: () => Promise<void>): Promise<void> {
  const undisturbed = await Promise.all(requests.map((body) => textOf(post(body))));
  const before = await metric('continuations_total');
  for (let tries = 1; ; tries++) {
    const streams = await Promise.all(requests.map(begin));
    await disturb();
    expect(await Promise.all(streams.map(rest))).toEqual(undisturbed);
    const continued = (await metric('continuations_total')) - before;
    await mend();
    await serving(2);
    if (continued > 0) return;
    if (tries === MOST_TRIES) throw new Error('The answers had always ended before their worker was disturbed.');
  }
}

interface Begun {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly first: string;
}

function post(body: unknown, signal?: AbortSignal, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${stack.urls.gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
}

/** Goes away as soon as the request is at a worker. */
async function leaveEarly(body: unknown): Promise<void> {
  const abort = new AbortController();
  const answer = post(body, abort.signal);
  await eventually(async () => (await metric('active_streams')) === 1);
  abort.abort();
  await answer.catch(() => undefined);
}

/** A stream that has its first token. */
async function begin(body: unknown): Promise<Begun> {
  const reader = (await post(body)).body!.getReader();
  const { value } = (await reader.read()) as { value: Uint8Array };
  return { reader, first: new TextDecoder().decode(value) };
}

async function whole({ reader, first }: Begun): Promise<string> {
  const decoder = new TextDecoder();
  let body = first;
  for (let part = await reader.read(); !part.done; part = await reader.read()) body += decoder.decode(part.value, { stream: true });
  return body;
}

async function rest(begun: Begun): Promise<string> {
  const body = await whole(begun);
  expect(body.trimEnd().endsWith('data: [DONE]')).toBe(true);
  return contentOf(body);
}

async function textOf(answer: Promise<Response>): Promise<string> {
  const response = await answer;
  const body = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${body}`);
  return contentOf(body);
}

function configure(settings: Record<string, number>): void {
  const path = join(stack.config, 'runtime.yaml');
  let text = readFileSync(path, 'utf8');
  for (const [name, value] of Object.entries(settings)) text = text.replace(new RegExp(`(  ${name}:) \\w+`), `$1 ${value}`);
  writeFileSync(path, text);
}

/** Sets how many may be at the workers and how many may wait. The limit comes by way of qos, too. */
async function admit(active: number, queued: number): Promise<void> {
  const reloads = stack.reloadsOf('gateway');
  configure({ max_concurrent_streams: active, max_queued_requests: queued });
  await eventually(async () => stack.reloadsOf('gateway') > reloads && (await metric('concurrency_limit')) === active);
}

function reloaded(service: string): Promise<unknown> {
  return eventually(() => stack.reloadsOf(service) > 0);
}

async function read(url: string, name: string): Promise<number> {
  const line = (await (await fetch(`${url}/metrics`)).text()).split('\n').find((one) => one.startsWith(name));
  return Number(line?.split(' ').at(-1) ?? 0);
}

const metric = (name: string): Promise<number> => read(String(stack.urls.operations['gateway']), `mlx_serving_gateway_${name}`);
const events = (event: string): Promise<number> => metric(`worker_events_total{event="${event}"}`);
const workerMetric = (name: string): Promise<number> => read(`http://127.0.0.1:${second.operationsPort}`, `mlx_serving_worker_${name}`);
const serving = (count: number): Promise<unknown> => eventually(async () => (await metric('serving_workers{variant="baseline"}')) === count);

/** Over both workers. */
async function sum(name: string): Promise<number> {
  return (await read(String(stack.urls.operations['worker']), `mlx_serving_worker_${name}`)) + (await workerMetric(name));
}

const cancelled = (): Promise<number> => sum('requests_total{outcome="cancelled"}');
const idle = (): Promise<unknown> => eventually(async () => (await sum('running_requests')) + (await sum('queued_requests')) === 0);
