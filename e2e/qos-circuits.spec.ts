import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { portsFor } from '../tools/start/ports.ts';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, freeOffset, Stack, stopAll, temporaryFolder } from './stack.ts';
import { WorkerProcess } from './worker-process.ts';

interface Action {
  readonly action: string;
  readonly actuator: string;
  readonly outcome: string;
  readonly rule: string;
}

/** By how much the first tokens of the bad worker are late. */
const SLOW_MS = 1_000;
/** Between two requests of a client: so seldom that the bad worker, which takes one at a time, gets its share of them. */
const PAUSE_MS = 300;
const POLICY =
  '{ id: bad-worker, name: Bad worker, enabled: true, priority: 1, slos: [{ name: ttft_p95, metric: ttft, threshold: 600, window_ms: 8000, severity: critical, min_samples: 3 }], remediations: [{ type: circuit_break, target: transport, params: { duration_ms: 8000 }, reason: a worker is late }] }';

let stack: Stack;
/** Joins the gateway by itself: qos is not told of it. */
let joined: WorkerProcess;
let address: string;
let asking = true;
let asked: Promise<unknown>[] = [];
let faultFile: string;

const actions = async (): Promise<readonly Action[]> => (await admin<{ actions: Action[] }>(stack, 'GET', '/admin/qos/actions?limit=500')).actions;
const said = async (outcome: string, rule: string): Promise<boolean> => (await actions()).some((each) => each.outcome === outcome && each.rule === rule);
const forced = async (): Promise<string | undefined> => new RegExp(`forced_circuits\\{worker="${address}"\\} (\\S+)`).exec(await (await fetch(`${stack.urls.operations['gateway']}/metrics`)).text())?.[1];

function writePolicy(folder: string): void {
  const path = join(folder, 'runtime.yaml');
  const text = readFileSync(path, 'utf8');
  const changed = `${text.slice(0, text.indexOf('      - id: default_ttft_policy'))}      - ${POLICY}\n\n${text.slice(text.indexOf('# Admission'))}`;
  // Any worker may get any request, and none is given up by the gateway itself.
  writeFileSync(path, changed.replace('evaluation_interval_ms: 5000', 'evaluation_interval_ms: 250').replace('prefix_affinity: true', 'prefix_affinity: false').replace('missed_probes: 5', 'missed_probes: 1000'));
}

/** Keeps two clients asking until it is told to stop. */
function ask(): void {
  asked = Array.from({ length: 2 }, async (_, client) => {
    for (let turn = 0; asking; turn++, await delay(PAUSE_MS)) await chat(stack, { maxTokens: 4, user: `user-${client}-${turn}`, messages: [{ role: 'user', content: `Explain the canary ${client}, ${turn}.` }] });
  });
}

/** The worker that has joined is so late from its next request on. */
const slow = (ms: number): void => writeFileSync(faultFile, JSON.stringify(ms === 0 ? {} : { second: { slow_ms: ms } }));

beforeAll(async () => {
  const [offset, other] = [await freeOffset(), portsFor(await freeOffset())];
  address = `127.0.0.1:${other.worker}`;
  joined = new WorkerProcess(other.worker, other.workerOperations, `127.0.0.1:${portsFor(offset).gatewayGrpc}`);
  const config = copyOfConfig();
  writePolicy(config);
  const canary = join(config, 'canary.yaml');
  writeFileSync(canary, readFileSync(canary, 'utf8').replace(/rolloutPercentage: \S+/, 'rolloutPercentage: 50'));
  faultFile = join(temporaryFolder(), 'faults.json');
  slow(0);
  process.env['MLX_WORKER_FAULT'] = faultFile;
  const started = joined.start();
  stack = await Stack.start({ offset, config, canary: true });
  await started;
  ask();
}, 120_000);

afterAll(async () => {
  asking = false;
  await Promise.allSettled(asked);
  await joined.kill();
  await stopAll();
});

describe('a worker that is late', () => {
  it('Q1: is known to qos though it joined the gateway alone', async () => {
    await eventually(async () => (await (await fetch(`${stack.urls.operations['qos']}/metrics`)).text()).includes(`mlx_serving_qos_worker_connected{worker="${address}"} 1`));
  });

  it('is treated as every other while a variant is being judged', async () => {
    await eventually(async () => (await admin<{ variantJudged: boolean }>(stack, 'GET', '/admin/qos')).variantJudged);
    slow(SLOW_MS);
    await eventually(() => said('withheld', 'canary_judged'), 40_000);
    expect(await forced()).not.toBe('1');
    expect((await actions()).filter(({ outcome }) => outcome === 'executed')).toEqual([]);
  });

  it('Q3: gets no work once none is, is tried with one request at a time, and is back when that goes well', async () => {
    await admin(stack, 'POST', '/admin/canary/rollback', { force: true, reason: 'test' });
    await eventually(async () => (await forced()) === '1', 40_000);
    expect((await actions()).find(({ outcome }) => outcome === 'executed')).toMatchObject({ action: 'circuit_break', actuator: `circuit:${address}`, rule: 'slo_violated' });
    slow(0);
    await eventually(() => said('undone', 'trial_good'), 40_000);
    await eventually(async () => (await forced()) === '0');
  });
});
