import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { isReady } from '../tools/start/readiness.ts';
import { eventually } from './eventually.ts';
import { root } from './stack.ts';

/** MLX and the model are read from disk, on a machine that may have other things to do. */
const READY_LIMIT_MS = 100_000;

/** A worker in the hands of a test: it may be killed, held and started again on its port. */
export class WorkerProcess {
  readonly port: number;
  readonly operationsPort: number;
  readonly #gateway: string;
  #process: ChildProcess | undefined;

  readonly #variant: 'baseline' | 'canary';

  /** @param gateway the gRPC door of the gateway that it joins */
  constructor(port: number, operationsPort: number, gateway: string, variant: 'baseline' | 'canary' = 'baseline') {
    this.#variant = variant;
    this.port = port;
    this.operationsPort = operationsPort;
    this.#gateway = gateway;
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const python = process.env['MLX_SERVING_PYTHON'] ?? join(root, 'python-worker', '.venv', 'bin', 'python');
    const settings = ['--port', String(this.port), '--metrics-port', String(this.operationsPort), '--worker-id', this.#variant === 'canary' ? 'joined-canary' : 'second', '--model', 'tiny', '--join', this.#gateway, '--join-variant', this.#variant];
    this.#process = spawn(python, ['-m', 'mlx_worker', ...settings], { stdio: 'ignore', env: { ...process.env, MLX_SERVING_CONFIG_DIR: join(root, 'config') } });
    await eventually(() => isReady({ kind: 'http', port: this.operationsPort }), READY_LIMIT_MS);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(name);
  }

  /** kill -9. Does nothing when it is gone already. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}
