import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

const root = fileURLToPath(new URL('../..', import.meta.url));
const LIMIT_MS = 30_000;

/** Ports that are free now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** One service of the system as a process of its own. */
export class ServiceProcess {
  readonly operations: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, operationsPort: number) {
    this.#child = child;
    this.operations = `http://127.0.0.1:${operationsPort}`;
  }

  /** Starts it and waits until it is live. @throws Error when it ends instead */
  static async start(name: string, operationsPort: number, env: Record<string, string>): Promise<ServiceProcess> {
    const args = ['--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', `${root}apps/${name}/src/main.ts`];
    const child = spawn(process.execPath, args, { env: { ...process.env, MLX_SERVING_LOG_LEVEL: 'error', MLX_SERVING_CONFIG_DIR: `${root}config`, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
    const started = new ServiceProcess(child, operationsPort);
    for (const began = performance.now(); !(await started.#isLive()); await delay(20)) {
      if (child.exitCode !== null || performance.now() - began > LIMIT_MS) throw new Error(`${name} did not start.`);
    }
    return started;
  }

  /** Seconds of processor time that it has used so far. */
  async cpuSeconds(): Promise<number> {
    const text = await (await fetch(`${this.operations}/metrics`)).text();
    return Number(/^process_cpu_seconds_total (\S+)/m.exec(text)?.[1]);
  }

  /** Stops its time, or lets it go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }

  async #isLive(): Promise<boolean> {
    return fetch(`${this.operations}/health/live`).then(
      ({ status }) => status === 200,
      () => false,
    );
  }
}
