import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { waitUntilReady } from './readiness.ts';
import type { ServiceSpec } from './services.ts';

/** How long a service may take to become ready, in milliseconds: a large model is read from a disk. */
const READY_LIMIT_MS = 300_000;
/** How long a service may take to stop before it is killed, in milliseconds. Services give up by themselves after 15 s. */
const STOP_LIMIT_MS = 20_000;

/** A service ended although nobody told it to. */
export class ChildEnded extends Error {
  override readonly name = 'ChildEnded';
}

/** One process of the system. It has a process group of its own, so that Ctrl-C reaches only the launcher. */
export class Child {
  readonly spec: ServiceSpec;
  readonly log: string;
  readonly #process: ChildProcess;
  /** Resolves with how it ended: `exit code 1`, `SIGKILL` or why it could not be started. */
  readonly ended: Promise<string>;
  #running = true;
  #stopping = false;

  constructor(spec: ServiceSpec, options: { log: string; directory: string; environment: NodeJS.ProcessEnv }) {
    this.spec = spec;
    this.log = options.log;
    const output = openSync(options.log, 'a');
    const [program = '', ...args] = spec.command;
    this.#process = spawn(program, args, {
      cwd: options.directory,
      env: { ...options.environment, ...spec.env },
      stdio: ['ignore', output, output],
      detached: true,
    });
    closeSync(output);
    this.ended = new Promise((resolve) => {
      const finish = (how: string): void => {
        this.#running = false;
        resolve(how);
      };
      this.#process.on('error', (error) => finish(error.message));
      this.#process.on('exit', (code, signal) => finish(signal ?? `exit code ${code}`));
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Whether its end was asked for. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** @throws ChildEnded when it ends first; Error when it takes too long */
  async ready(): Promise<void> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`${this.spec.name} was not ready after ${READY_LIMIT_MS / 1000} s.`)), READY_LIMIT_MS);
    const death = this.ended.then((how) => {
      throw new ChildEnded(`${this.spec.name} ended while it started (${how}).`);
    });
    try {
      await Promise.race([waitUntilReady(this.spec.ready, limit.signal), death]);
    } finally {
      clearTimeout(timer);
      limit.abort(new Error('no longer waited for'));
    }
  }

  signal(name: NodeJS.Signals): void {
    if (this.#running) this.#process.kill(name);
  }

  /** Asks it to drain and end, and kills it when it does not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.kill(), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.#stopping = true;
    this.signal('SIGKILL');
  }

  lastLines(count: number): string {
    const lines = readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-count);
    return lines.map((line) => `  ${line}`).join('\n');
  }
}
