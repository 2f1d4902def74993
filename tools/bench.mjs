#!/usr/bin/env node
// Measures against peers: node tools/bench.mjs SUITE. Runs on Node 20 with nothing installed.
import { join } from 'node:path';
import { root } from './provision/checkout.mjs';
import { fail, handOver } from './provision/hand-over.mjs';
import { provision, runSource } from './provision/provision.mjs';

provision({ forTests: true, logs: join(root, 'reports', 'logs') })
  .then(({ node, env }) => handOver(runSource(node, 'tools/bench/main.ts', process.argv.slice(2)), env))
  .catch(fail);
