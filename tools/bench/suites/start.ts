import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { secondsToFirstToken } from '../first-token.ts';
import type { BenchSuite } from '../suite.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const python = process.env['MLX_SERVING_PYTHON'] ?? 'python3';
const tinyModel = join(root, 'python-worker', 'src', 'mlx_worker', 'models', 'tiny');
const PORT_OFFSET = 7_000;
const PEER_PORT = 18_080;
const PEER_NAME = 'mlx_lm.server';

/** Gives the peer the same BLAS that the worker gives itself. */
const BLAS_ENVIRONMENT = `
import json, os
from mlx_worker.blas import cache_directory, find_system_openblas, packaged_openblas, preload_environment
library = find_system_openblas() or packaged_openblas(cache_directory(os.environ))
print(json.dumps(dict(os.environ) if library is None else dict(preload_environment(os.environ, library))))
`;

function peerEnvironment(): NodeJS.ProcessEnv {
  if (process.platform !== 'linux') return process.env;
  return JSON.parse(spawnSync(python, ['-c', BLAS_ENVIRONMENT], { encoding: 'utf8' }).stdout) as NodeJS.ProcessEnv;
}

function startOurs(state: string): Promise<number> {
  const command = ['node', join(root, 'tools', 'start.mjs'), '--json', '--state', state, '--port-offset', String(PORT_OFFSET)];
  return secondsToFirstToken(command, { ...process.env, MODEL: 'tiny' }, `http://127.0.0.1:${3000 + PORT_OFFSET}`, 'tiny');
}

function startPeer(): Promise<number> {
  const command = [python, '-m', 'mlx_lm', 'server', '--model', tinyModel, '--port', String(PEER_PORT)];
  return secondsToFirstToken(command, peerEnvironment(), `http://127.0.0.1:${PEER_PORT}`, tinyModel);
}

const warmState = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));

async function startCold(): Promise<number> {
  const state = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));
  try {
    return await startOurs(state);
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
}

/** The whole system against one bare model server: the price of the control plane at start. */
export const suite: BenchSuite = {
  name: 'start',
  description: 'from the start of the command to the first streamed token of the tiny model; environments are installed',
  pairs: 5,
  setUp: async () => void (await startOurs(warmState)),
  tearDown: async () => rmSync(warmState, { recursive: true, force: true }),
  cases: [
    { name: 'first start', unit: 's', ours: startCold, peerName: PEER_NAME, peer: startPeer, goal: { of: 'value', most: 10 } },
    { name: 'second start', unit: 's', ours: () => startOurs(warmState), peerName: PEER_NAME, peer: startPeer, goal: { of: 'value', most: 10 } },
  ],
};
