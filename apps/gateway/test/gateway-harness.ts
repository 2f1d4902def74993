import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StreamReport } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { FakeCanary, FakeFlags, FakeQos, FakeWorker, until } from '@mlx-serving/testing';
import { createApp, type GatewayApp } from '../src/index.ts';

export const on = { enabled: true, rolloutPercentage: 100 };
const SHIPPED = fileURLToPath(new URL('../../../config/runtime.yaml', import.meta.url));

export interface Setup {
  worker?: FakeWorker;
  moreWorkers?: FakeWorker[];
  canaryWorkers?: FakeWorker[];
  /** In place of the fake workers. */
  workerAddresses?: string[];
  /** Settings of runtime.yaml by name. */
  runtime?: Record<string, number | boolean>;
  joinToken?: string;
  logger?: typeof silentLogger;
  /** Whether clients need a key. Default: auto. */
  keys?: 'auto' | 'required' | 'open';
  /** Address to bind to. Default: loopback. */
  host?: string;
}

/** A whole gateway on loopback between fake controllers and fake workers. */
export class Harness {
  readonly flags = new FakeFlags().hold(12n, { warm: on, off: { enabled: false } });
  readonly qos = new FakeQos();
  readonly canary = new FakeCanary();
  readonly setup: Setup;
  readonly worker: FakeWorker;
  app!: GatewayApp;
  directory = '';

  constructor(setup: Setup = {}) {
    this.setup = setup;
    this.worker = setup.worker ?? new FakeWorker();
    this.qos.lease.limit = Number(setup.runtime?.['max_concurrent_streams'] ?? 64);
  }

  get workers(): FakeWorker[] {
    return [this.worker, ...(this.setup.moreWorkers ?? [])];
  }

  get url(): string {
    return `http://127.0.0.1:${this.app.ports.http}`;
  }

  async start({ ready = true } = {}): Promise<this> {
    this.directory = await mkdtemp(join(tmpdir(), 'gateway-'));
    await this.configure(this.setup.runtime ?? {});
    const parts = [this.flags, this.qos, this.canary, ...this.workers, ...(this.setup.canaryWorkers ?? [])];
    await Promise.all(parts.map((part) => part.start()));
    await this.startApp();
    if (ready) await until(async () => (await this.get('/health/ready')).status === 200 && this.qos.all('acknowledgement').length > 0 && this.canary.all('acknowledgement').length > 0);
    return this;
  }

  async startApp(): Promise<void> {
    this.app = await createApp(
      {
        host: this.setup.host ?? '127.0.0.1',
        trustedNetwork: this.setup.host !== undefined,
        httpPort: 0,
        grpcPort: 0,
        operationsPort: 0,
        stateDirectory: this.directory,
        configDirectory: this.directory,
        replicaId: 'gateway-test',
        joinToken: this.setup.joinToken ?? '',
        operatorTokenFile: '',
        environment: 'development',
        keys: this.setup.keys ?? 'auto',
        flagsAddress: this.flags.address,
        qosAddress: this.qos.address,
        canaryAddress: this.canary.address,
        workers: this.setup.workerAddresses ?? this.workers.map((worker) => worker.address),
        canaryWorkers: (this.setup.canaryWorkers ?? []).map((worker) => worker.address),
      },
      this.setup.logger ?? silentLogger,
    );
    await this.app.start();
  }

  async stop(): Promise<void> {
    const workers = [...this.workers, ...(this.setup.canaryWorkers ?? [])];
    for (const worker of workers) for (const generation of worker.generations) generation.finish();
    await this.app.stop();
    await Promise.all([this.flags, this.qos, this.canary, ...workers].map((part) => part.kill()));
    await rm(this.directory, { recursive: true, force: true });
  }

  async configure(runtime: Record<string, number | boolean>): Promise<void> {
    let text = await readFile(SHIPPED, 'utf8');
    for (const [name, value] of Object.entries(runtime)) text = text.replace(new RegExp(`(  ${name}:) \\w+`), `$1 ${value}`);
    await writeFile(join(this.directory, 'runtime.yaml'), text);
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(this.url + path, { headers });
  }

  post(path: string, body: unknown, init: { headers?: Record<string, string>; signal?: AbortSignal } = {}): Promise<Response> {
    const { headers, ...rest } = init;
    return fetch(this.url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body), ...rest });
  }

  chat(more: object = {}, init: { headers?: Record<string, string>; signal?: AbortSignal } = {}): Promise<Response> {
    return this.post('/v1/chat/completions', { model: 'fake', messages: [{ role: 'user', content: 'Hello' }], ...more }, init);
  }

  async metric(name: string): Promise<string | undefined> {
    const text = await (await fetch(`http://127.0.0.1:${this.app.ports.operations}/metrics`)).text();
    return text.split('\n').find((line) => line.startsWith(name))?.split(' ').at(-1);
  }

  /** The reports that came up the QoS link, once there are so many. */
  async reports(count: number): Promise<StreamReport[]> {
    const all = (): StreamReport[] => this.qos.all('reports').flatMap((batch) => batch.reports);
    await until(() => all().length >= count);
    return all();
  }
}

/** The events of a stream, parsed; `[DONE]` stays text. */
export function events(text: string): unknown[] {
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => (event === 'data: [DONE]' ? '[DONE]' : (JSON.parse(event.replace(/^data: /, '')) as unknown)));
}

export async function errorOf(response: Response): Promise<{ message: string; type: string; param: string | null; code: string | null }> {
  return ((await response.json()) as { error: { message: string; type: string; param: string | null; code: string | null } }).error;
}
