#!/usr/bin/env node
// Starts everything: node tools/start.mjs --help. Runs on Node 20 with nothing installed.
import { root, virtualPython } from './provision/checkout.mjs';
import { fail, handOver } from './provision/hand-over.mjs';
import { provision, runSource } from './provision/provision.mjs';
import { ensurePythonEnvironment } from './provision/python-environment.mjs';
import { join } from 'node:path';

const args = process.argv.slice(2);

/** `--only worker` needs no Node packages; what follows it goes to the worker. */
async function startWorker(workerArguments) {
  await ensurePythonEnvironment({ logs: join(root, '.mlx-serving', 'logs'), forTests: false });
  handOver([virtualPython, '-m', 'mlx_worker', ...workerArguments], { MLX_SERVING_CONFIG_DIR: join(root, 'config'), ...process.env });
}

async function startAll() {
  const { node, env } = await provision();
  handOver(runSource(node, 'tools/start/main.ts', args), env);
}

const start = args[0] === '--only' && args[1] === 'worker' ? startWorker(args.slice(2)) : startAll();
start.catch(fail);
