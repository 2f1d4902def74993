import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createServiceClient, type ServiceClient, Worker } from '@mlx-serving/contracts';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const python = process.env['MLX_SERVING_PYTHON'] ?? 'python3';
const WORKER_PORT = 18_061;
const PEER_PORT = 18_081;
const LIMIT_MS = 120_000;

/** What one request saw, in milliseconds since it was sent. */
export interface Timing {
  readonly first: number;
  readonly end: number;
  readonly tokens: number;
  /** Between one message with tokens and the next. */
  readonly gaps: readonly number[];
}

export interface Call {
  readonly prompt: string;
  readonly maxTokens: number;
  /** Only the worker knows flags; without them every stage is off. */
  readonly flags?: readonly string[];
  readonly allow?: boolean;
  /** Called at the first token. */
  readonly onFirst?: () => void;
}

export interface Server {
  generate(call: Call): Promise<Timing>;
  stop(): Promise<void>;
}

/** Both get the worker's own BLAS and its number of threads. */
const BLAS_ENVIRONMENT = `
import json, os
from mlx_worker.blas import cache_directory, find_system_openblas, packaged_openblas, preload_environment
library = find_system_openblas() or packaged_openblas(cache_directory(os.environ))
print(json.dumps(dict(os.environ) if library is None else dict(preload_environment(os.environ, library))))
`;

function environment(): NodeJS.ProcessEnv {
  const own = { ...process.env, PYTHONPATH: `${root}python-worker/src` };
  if (process.platform !== 'linux') return own;
  return JSON.parse(spawnSync(python, ['-c', BLAS_ENVIRONMENT], { encoding: 'utf8', env: own }).stdout) as NodeJS.ProcessEnv;
}

async function started(process: ChildProcess, answers: () => Promise<boolean>): Promise<void> {
  const began = performance.now();
  while (!(await answers())) {
    if (process.exitCode !== null || performance.now() - began > LIMIT_MS) throw new Error(`${process.spawnargs.join(' ')} never answered.`);
    await delay(100);
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve();
  child.kill('SIGKILL');
  await ended;
}

export async function startWorker(model: string, ...options: string[]): Promise<Server> {
  const args = ['-m', 'mlx_worker', '--model', model, '--port', `${WORKER_PORT}`, '--metrics-port', '0', '--max-queue', '256', '--log-level', 'error', ...options];
  const child = spawn(python, args, { env: environment(), stdio: ['ignore', 'ignore', 'inherit'] });
  const client = createServiceClient(Worker, `127.0.0.1:${WORKER_PORT}`);
  await started(child, () => client.listModels({}).then(({ models }) => models.length > 0).catch(() => false));
  return {
    generate: (call) => generateAtWorker(client, call),
    stop: async () => {
      client.close();
      await stopped(child);
    },
  };
}

/** Of the times of all messages with tokens. */
function timesOf(at: readonly number[]): Pick<Timing, 'first' | 'gaps'> {
  return { first: at[0] ?? 0, gaps: at.slice(1).map((time, index) => time - (at[index] ?? 0)) };
}

async function generateAtWorker(client: ServiceClient<typeof Worker>, { prompt, maxTokens, flags = [], allow = false, onFirst }: Call): Promise<Timing> {
  const began = performance.now();
  const at: number[] = [];
  let tokens = 0;
  const stream = client.generate({
    requestId: 'bench',
    input: { case: 'prompt', value: prompt },
    sampling: { maxTokens, temperature: 0 },
    enabledFlags: [...flags],
    ttftHint: { allowSpeculation: allow },
  });
  for await (const { event } of stream as AsyncIterable<{ event: { case?: string; value?: { tokens?: readonly unknown[] } } }>) {
    if (event.case !== 'chunk') continue;
    at.push(performance.now() - began);
    if (at.length === 1) onFirst?.();
    tokens += event.value?.tokens?.length ?? 0;
  }
  return { ...timesOf(at), end: performance.now() - began, tokens };
}

export async function startPeer(model: string): Promise<Server> {
  const args = ['-m', 'mlx_lm', 'server', '--model', model, '--port', `${PEER_PORT}`, '--log-level', 'ERROR'];
  const child = spawn(python, args, { env: environment(), stdio: 'ignore' });
  const url = `http://127.0.0.1:${PEER_PORT}`;
  await started(child, () => fetch(`${url}/health`).then(({ ok }) => ok).catch(() => false));
  return { generate: (call) => generateAtPeer(url, model, call), stop: () => stopped(child) };
}

async function generateAtPeer(url: string, model: string, { prompt, maxTokens, onFirst }: Call): Promise<Timing> {
  const began = performance.now();
  const body = JSON.stringify({ model, prompt, stream: true, max_tokens: maxTokens, temperature: 0, stream_options: { include_usage: true } });
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  if (!response.ok || response.body === null) throw new Error(`mlx_lm.server answered ${response.status}.`);
  const at: number[] = [];
  let text = '';
  for await (const bytes of response.body) {
    const piece = Buffer.from(bytes as Uint8Array).toString();
    text += piece;
    if (!/"text":\s*"/.test(at.length === 0 ? text : piece)) continue;
    at.push(performance.now() - began);
    if (at.length === 1) onFirst?.();
  }
  const tokens = Number(/"completion_tokens":\s*(\d+)/.exec(text)?.[1] ?? Number.NaN);
  return { ...timesOf(at), end: performance.now() - began, tokens };
}
