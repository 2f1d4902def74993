import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchCase, BenchSuite } from '../suite.ts';
import { python, root, type Server, startPeer, startWorker } from '../worker/servers.ts';
import { arrival, cold, gapWhilePrefilling, midQueue, repeat, SharedTrials, sharedPrefix, type CallSettings, type TrialResult } from '../worker/trials.ts';

const PEER = 'mlx_lm.server';
const OFF = 'stages off';
const folder = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));
const stages: CallSettings = { flags: ['ttft_pipeline.warmup_queue', 'ttft_pipeline.speculation', 'ttft_pipeline.kv_prep'], allow: true };
const off: CallSettings = {};

let worker: Server;
let peer: Server;

type Trial = (server: Server, settings: CallSettings) => Promise<TrialResult>;

function compare(name: string, trial: Trial, goals: { p50: number; p95?: number; perToken: number }): BenchCase[] {
  const ours = new SharedTrials(() => trial(worker, stages));
  const peers = new SharedTrials(() => trial(peer, off));
  const one = (what: keyof TrialResult, label: string, unit: string, most: number): BenchCase => ({
    name: `${name}: ${label}`,
    unit,
    ours: async () => (await ours.next(what))[what],
    peerName: PEER,
    peer: async () => (await peers.next(what))[what],
    goal: { of: 'ratio', most },
  });
  return [
    one('p50', 'first token, p50', 'ms', goals.p50),
    ...(goals.p95 === undefined ? [] : [one('p95', 'first token, p95', 'ms', goals.p95)]),
    one('perToken', 'time a token', 'ms', goals.perToken),
  ];
}

const repeated = new SharedTrials(() => repeat(worker, stages));
/** At least 1.1 times the tokens a second. */
const FASTER = 1 / 1.1;

const againstPeer: BenchCase[] = [
  { name: 'short request while others decode: first token, p50', unit: 'ms', ours: () => arrival(worker, stages), peerName: PEER, peer: () => arrival(peer, off), goal: { of: 'ratio', most: 0.1 } },
  { name: 'running streams while long prompts come: gap between tokens, p95', unit: 'ms', ours: () => gapWhilePrefilling(worker, stages), peerName: PEER, peer: () => gapWhilePrefilling(peer, off), goal: { of: 'value', most: 50 } },
  {
    name: 'exact repeat: first token',
    unit: 'ms',
    ours: async () => (await repeated.next('peer')).again,
    peerName: PEER,
    peer: async () => (await repeat(peer, off)).again,
    goal: { of: 'ratio', most: 0.25 },
  },
  {
    name: 'exact repeat: first token against its own cold',
    unit: 'ms',
    ours: async () => (await repeated.next('again')).again,
    peerName: 'its cold',
    peer: async () => (await repeated.next('cold')).cold,
    goal: { of: 'ratio', most: 0.1 },
  },
  ...compare('shared 600 tokens, 1 caller', (server, settings) => sharedPrefix(server, 1, settings), { p50: 0.75, perToken: 1 }),
  ...compare('shared 600 tokens, 4 callers', (server, settings) => sharedPrefix(server, 4, settings), { p50: 0.7, perToken: 1 }),
  ...compare('shared 600 tokens, 16 callers', (server, settings) => sharedPrefix(server, 16, settings), { p50: 0.6, perToken: 1 }),
  ...compare('cold 200 tokens, 1 caller', (server, settings) => cold(server, 1, settings), { p50: 0.97, perToken: FASTER }),
  ...compare('cold 200 tokens, 4 callers', (server, settings) => cold(server, 4, settings), { p50: 0.75, perToken: FASTER }),
  ...compare('cold 200 tokens, 16 callers', (server, settings) => cold(server, 16, settings), { p50: 0.5, p95: 0.95, perToken: FASTER }),
];

const againstItself: BenchCase[] = [
  { name: 'stages on against off, repeat', unit: 'ms', ours: async () => (await repeat(worker, stages)).again, peerName: OFF, peer: async () => (await repeat(worker, off)).again, goal: { of: 'ratio', most: 0.1 } },
  { name: 'stages on against off, shared 600 tokens', unit: 'ms', ours: async () => (await sharedPrefix(worker, 1, stages)).p50, peerName: OFF, peer: async () => (await sharedPrefix(worker, 1, off)).p50, goal: { of: 'ratio', most: 0.2 } },
];

let small: Server | undefined;

/** A worker with four places, started when it is first needed; the others wait meanwhile. */
async function fourPlaces(settings: CallSettings): Promise<number> {
  if (small === undefined) {
    await worker.stop();
    small = await startWorker(folder, '--max-batch', '4');
    worker = small;
  }
  return midQueue(small, settings);
}

const queued: BenchCase = {
  name: 'stages on against off, every place taken',
  unit: 'ms',
  ours: () => fourPlaces(stages),
  peerName: OFF,
  peer: () => fourPlaces(off),
  goal: { of: 'ratio', most: 0.4 },
};

/** The worker against mlx_lm.server on the same model, BLAS and machine; then its stages against themselves. */
export const suite: BenchSuite = {
  name: 'worker',
  description: 'first tokens and throughput of the worker with all stages on; a random model of 24 million parameters in float32',
  pairs: 5,
  setUp: async () => {
    const made = spawnSync(python, [join(root, 'python-worker', 'tools', 'make_bench_model.py'), folder], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(made.stderr);
    worker = await startWorker(folder);
    peer = await startPeer(folder);
    for (const [server, settings] of [[worker, stages], [peer, off]] as const) await cold(server, 2, settings);
  },
  tearDown: async () => {
    await worker.stop();
    await peer.stop();
    rmSync(folder, { recursive: true, force: true });
  },
  cases: [...againstPeer, ...againstItself, queued],
};
