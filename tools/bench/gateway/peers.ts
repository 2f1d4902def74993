import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache, freePort, root, type Running, runToEnd, startProcess } from './processes.ts';
import type { Target } from './rig.ts';

/** A gateway that others use, on its way from its registry to a running process. */
export interface Peer {
  readonly name: PeerName;
  /** Does nothing when it is there already. @throws Error when it cannot be had */
  install(): void;
  start(port: number, upstream: string): Promise<Running>;
  /** Headers that it wants. */
  readonly headers?: (upstream: string) => Record<string, string>;
}

export type PeerName = 'vllm-router' | 'Bifrost core' | 'Portkey' | 'LiteLLM';

const bin = (name: string): string => join(cache, 'python', 'bin', name);
const portkeyFolder = join(cache, 'portkey');
const portkeyEntry = join(portkeyFolder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js');
const python = process.env['MLX_SERVING_PYTHON'] ?? 'python3';

function pipInstall(...packages: string[]): void {
  if (!existsSync(bin('pip'))) runToEnd([python, '-m', 'venv', join(cache, 'python')], cache);
  runToEnd([bin('pip'), 'install', '--quiet', ...packages], cache);
}

const vllmRouter: Peer = {
  name: 'vllm-router',
  install: () => existsSync(bin('vllm-router')) || pipInstall('vllm-router==0.1.17'),
  start: async (port, upstream) => {
    const command = [bin('vllm-router'), '--host', '127.0.0.1', '--port', String(port), '--worker-urls', upstream, '--policy', 'round_robin', '--prometheus-port', String(await freePort()), '--log-level', 'error'];
    return startProcess('vllm-router', command, `http://127.0.0.1:${port}/health`);
  },
};

const bifrostCore: Peer = {
  name: 'Bifrost core',
  install: () => runToEnd(['go', 'build', '-o', join(cache, 'bifrost'), '.'], join(root, 'tools', 'bench', 'gateway', 'bifrost')),
  start: (port, upstream) => startProcess('bifrost', [join(cache, 'bifrost'), String(port), upstream], `http://127.0.0.1:${port}/health`),
};

/** Its streams fail with the newer server package that npm would choose. */
const portkeyPackage = { private: true, dependencies: { '@portkey-ai/gateway': '1.15.2' }, overrides: { '@hono/node-server': '1.13.5' } };

const portkey: Peer = {
  name: 'Portkey',
  install: () => {
    if (existsSync(portkeyEntry)) return;
    mkdirSync(portkeyFolder, { recursive: true });
    writeFileSync(join(portkeyFolder, 'package.json'), JSON.stringify(portkeyPackage));
    runToEnd(['npm', 'install', '--no-audit', '--no-fund'], portkeyFolder);
  },
  start: (port) => startProcess('portkey', ['node', portkeyEntry, '--headless', `--port=${port}`], `http://127.0.0.1:${port}/`),
  headers: (upstream) => ({ 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `${upstream}/v1`, 'authorization': 'Bearer bench' }),
};

const liteLlm: Peer = {
  name: 'LiteLLM',
  install: () => existsSync(bin('litellm')) || pipInstall('litellm[proxy]==1.106.2'),
  start: (port, upstream) => {
    const config = join(cache, 'litellm.yaml');
    writeFileSync(config, `model_list:\n  - model_name: bench\n    litellm_params: {model: openai/bench, api_base: "${upstream}/v1", api_key: bench}\n`);
    const command = [bin('litellm'), '--config', config, '--host', '127.0.0.1', '--port', String(port), '--num_workers', '1', '--telemetry', 'False'];
    // It asks for a key of its own unless this is said; without the map it looks for a newer one on the network.
    const env = { LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY: 'true', LITELLM_LOCAL_MODEL_COST_MAP: 'True' };
    return startProcess('litellm', command, `http://127.0.0.1:${port}/health/liveliness`, env);
  },
};

export const peers: readonly Peer[] = [vllmRouter, bifrostCore, portkey, liteLlm];

/** A running peer, and how it is asked. */
export interface RunningPeer extends Running {
  readonly name: PeerName;
  readonly target: Omit<Target, 'body'>;
}

/** Installs and starts a peer. @returns undefined, loudly, when it cannot be had */
export async function startPeer(peer: Peer, upstream: string): Promise<RunningPeer | undefined> {
  try {
    peer.install();
    const port = await freePort();
    const running = await peer.start(port, upstream);
    const target = { address: `127.0.0.1:${port}`, path: '/v1/chat/completions', headers: peer.headers?.(upstream) ?? {} };
    return { ...running, name: peer.name, target };
  } catch (error) {
    process.stdout.write(`!! WITHOUT ${peer.name.toUpperCase()}: ${(error as Error).message}\n`);
    return undefined;
  }
}
