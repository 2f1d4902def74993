import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SystemUrls } from '../../start/ready-message.ts';
import { root } from '../gateway/processes.ts';

const PORT_OFFSET = 12_000;
const HOLDS_WITHIN_MS = 10_000;

/** The governor of `config/runtime.yaml`, as far as the bench sets it. */
export interface GovernorSettings {
  readonly places: number;
  readonly queued: number;
  readonly urgentShare: number;
  readonly algorithm: 'fixed' | 'gradient';
}

/** The whole system as `npm start` runs it, with the real worker and the tiny model, and no policies: the governor alone. */
export class Stack {
  readonly urls: SystemUrls;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, urls: SystemUrls, folder: string) {
    this.#child = child;
    this.urls = urls;
    this.#folder = folder;
  }

  static async start(settings: GovernorSettings): Promise<Stack> {
    const folder = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));
    cpSync(join(root, 'config'), join(folder, 'config'), { recursive: true });
    write(folder, settings);
    const args = [join(root, 'tools', 'start.mjs'), '--json', '--state', join(folder, 'state'), '--port-offset', String(PORT_OFFSET)];
    const child = spawn('node', args, { env: { ...process.env, REDIS_URL: '', MODEL: 'tiny', MLX_SERVING_CONFIG_DIR: join(folder, 'config') }, stdio: ['ignore', 'pipe', 'inherit'] });
    return new Stack(child, JSON.parse(await firstLine(child)) as SystemUrls, folder);
  }

  /** Other settings, without a restart. Resolves when the gateway holds to them. */
  async govern(settings: GovernorSettings): Promise<void> {
    write(this.#folder, settings);
    process.kill(this.#child.pid as number, 'SIGHUP');
    for (const began = performance.now(); (await this.gatewayMetric('concurrency_limit')) !== settings.places; await delay(50)) {
      if (performance.now() - began > HOLDS_WITHIN_MS) throw new Error('The gateway did not take over its settings.');
    }
  }

  async gatewayMetric(name: string): Promise<number> {
    const text = await (await fetch(`${this.urls.operations['gateway']}/metrics`)).text();
    return Number(new RegExp(`^mlx_serving_gateway_${name} (\\S+)$`, 'm').exec(text)?.[1]);
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function write(folder: string, { places, queued, urgentShare, algorithm }: GovernorSettings): void {
  const shipped = readFileSync(join(root, 'config', 'runtime.yaml'), 'utf8');
  const begin = shipped.indexOf('    policies:\n');
  const end = shipped.indexOf('# Admission');
  const governor = `governor:\n  max_concurrent_streams: ${places}\n  max_queued_requests: ${queued}\n  urgent_share: ${urgentShare}\n  algorithm: ${algorithm}\n  lease_ttl_ms: 15000\n`;
  const text = `${shipped.slice(0, begin)}    policies: []\n\n${shipped.slice(end)}`;
  writeFileSync(join(folder, 'config', 'runtime.yaml'), text.replace(/^governor:\n(?: {2}.*\n)+/m, governor));
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const part of child.stdout as AsyncIterable<Buffer>) {
    text += part.toString();
    if (text.includes('\n')) return text.slice(0, text.indexOf('\n'));
  }
  throw new Error('The system did not start.');
}
