import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { portsFor } from '../tools/start/ports.ts';
import { isAlive } from '../tools/start/processes.ts';
import { admin } from './clients.ts';
import { eventually } from './eventually.ts';
import { freeOffset, Stack, stopAll } from './stack.ts';
import { WorkerProcess } from './worker-process.ts';

const PROCESSES = 2;

interface Answer {
  readonly status: number;
  readonly body: string;
}

let stack: Stack;

beforeAll(async () => {
  stack = await Stack.start({ env: { GATEWAY_WORKERS: String(PROCESSES) } });
});
afterAll(stopAll);

/** On a connection of its own: connections go to the processes in turn. */
function post(body: object, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify({ model: 'tiny', temperature: 0, max_tokens: 1, messages: [{ role: 'user', content: 'Explain the canary.' }], ...body });
    const sent = request(`${stack.urls.gateway}/v1/chat/completions`, { method: 'POST', agent: false, headers: { 'content-type': 'application/json', ...headers } }, (response) => {
      let answer = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (answer += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: answer }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

const both = (headers: Record<string, string>): Promise<number[]> => Promise.all(Array.from({ length: PROCESSES * 2 }, async () => (await post({}, headers)).status));

async function readiness(): Promise<{ isReady: boolean; processes: { configured: number; ready: number[] } }> {
  const response = await fetch(`${stack.urls.operations['gateway']}/health/ready`);
  return { isReady: response.status === 200, processes: ((await response.json()) as { processes: { configured: number; ready: number[] } }).processes };
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${stack.urls.operations['gateway']}/metrics`)).text();
  return Number(text.split('\n').find((line) => line.startsWith(name))?.split(' ').at(-1) ?? 0);
}

describe('a gateway of several processes', () => {
  it('shows its processes as one', async () => {
    const { isReady, processes } = await readiness();
    expect([isReady, processes.configured, processes.ready.length]).toEqual([true, PROCESSES, PROCESSES]);
    const counted = 'mlx_serving_gateway_requests_total{route="chat",status="200"}';
    const before = await metric(counted);
    for (let sent = 0; sent < 4; sent++) await post({});
    expect((await metric(counted)) - before).toBe(4);
    expect(await metric('mlx_serving_gateway_serving_workers{variant="baseline"}')).toBe(1);
  });

  it('is several gateways to the controllers: a kill names each process that has applied it', async () => {
    const { acknowledged } = await admin<{ acknowledged: { replica: string }[] }>(stack, 'POST', '/admin/flags/http2_transport/kill', { reason: 'a test' });
    expect(acknowledged.filter(({ replica }) => /^gateway-.*-[12]$/.test(replica))).toHaveLength(PROCESSES);
  });
});

describe('a key', () => {
  it('has one limit in all processes, and is refused by all once it is revoked', async () => {
    const limit = 6;
    const { key, secret } = await admin<{ key: { id: string }; secret: string }>(stack, 'POST', '/admin/keys', { name: 'shared', requests_per_minute: limit });
    const headers = { authorization: `Bearer ${secret}` };
    const counted = async (): Promise<number> => {
      const keys = await admin<{ key: { id: string }; balance: { requestsLeft: number } }[]>(stack, 'GET', '/admin/keys');
      return keys.find((one) => one.key.id === key.id)!.balance.requestsLeft;
    };
    await eventually(async () => (await post({}, headers)).status === 200);
    let taken = 1;
    let status = 200;
    // Each is counted at the flag service before the next goes, to the other process.
    for (; status === 200; taken += Number(status === 200)) {
      const left = limit - taken;
      await eventually(async () => (await counted()) < left + 1);
      ({ status } = await post({}, headers));
    }
    expect(status).toBe(429);
    // Some come back in the meantime; alone, each process would have let as many through.
    expect(taken).toBeLessThan(limit * PROCESSES);
    await admin(stack, 'DELETE', `/admin/keys/${key.id}`);
    await eventually(async () => (await both(headers)).every((one) => one === 401));
  });
});

describe('a worker that joins', () => {
  it('at one process gets requests of all, and none when it has left', async () => {
    const ports = portsFor(await freeOffset());
    const worker = new WorkerProcess(ports.worker, ports.workerOperations, `127.0.0.1:${portsFor(stack.offset).gatewayGrpc}`);
    await worker.start();
    // The least of what the processes see.
    await eventually(async () => (await metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === 2);
    await worker.kill();
    await eventually(async () => (await metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === 1);
    expect(new Set(await both({}))).toEqual(new Set([200]));
  });
});

describe('a process that is killed', () => {
  it('is replaced, and the others serve meanwhile', async () => {
    const [victim] = (await readiness()).processes.ready;
    process.kill(victim!, 'SIGKILL');
    await eventually(() => !isAlive(victim!));
    expect((await post({})).status).toBe(200);
    await eventually(async () => {
      const { isReady, processes } = await readiness();
      return isReady && processes.ready.length === PROCESSES && !processes.ready.includes(victim!);
    });
    expect(new Set(await both({}))).toEqual(new Set([200]));
  });
});

describe('SIGTERM', () => {
  it('cuts no stream of any process, and leaves none behind', async () => {
    const { ready } = (await readiness()).processes;
    const streams = Array.from({ length: 8 }, () => post({ stream: true, max_tokens: 60 }));
    await eventually(async () => (await metric('mlx_serving_gateway_active_streams')) > 0);
    process.kill(stack.child('gateway').pid, 'SIGTERM');
    const answers = await Promise.allSettled(streams);
    const begun = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value.status === 200 ? [answer.value.body] : []));
    expect(begun.length).toBeGreaterThan(0);
    expect(begun.filter((body) => !body.trimEnd().endsWith('data: [DONE]'))).toEqual([]);
    await eventually(() => !ready.some(isAlive));
  });
});
