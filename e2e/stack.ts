import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SystemUrls } from '../tools/start/ready-message.ts';
import { isFree } from '../tools/start/port-check.ts';
import { portsFor } from '../tools/start/ports.ts';
import type { ChildRecord } from '../tools/start/state-directory.ts';

export const root = fileURLToPath(new URL('..', import.meta.url));

export interface StackOptions {
  readonly state?: string;
  readonly offset?: number;
  readonly canary?: boolean;
  /** Default: a copy of the checkout's, so that a test may edit it. */
  readonly config?: string;
  /** Variables besides the process's own. */
  readonly env?: NodeJS.ProcessEnv;
}

/** The ports of a system lie where the machine also takes those of outgoing connections from. */
const MOST_STARTS = 3;

const launchers = new Set<Launcher>();

/** Ends every system that a test has left running, so that a failure leaves nothing behind. */
export async function stopAll(): Promise<void> {
  await Promise.all([...launchers].map((launcher) => launcher.stop()));
}

/** A launcher: what it has said, and how it ended. */
export class Launcher {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn('node', [join(root, 'tools', 'start.mjs'), ...args], { env: { ...process.env, REDIS_URL: '', ...env }, stdio: ['ignore', 'pipe', 'pipe'], cwd: root });
    this.process.stdout?.on('data', (text: Buffer) => (this.stdout += text.toString()));
    this.process.stderr?.on('data', (text: Buffer) => (this.stderr += text.toString()));
    launchers.add(this);
    this.ended = once(this.process, 'close').then(([code]) => {
      launchers.delete(this);
      return code as number | null;
    });
  }

  /** Ctrl-C. @returns the exit code */
  stop(): Promise<number | null> {
    this.process.kill('SIGINT');
    return this.ended;
  }

  /** Resolves with the line of JSON that the launcher prints when all is ready. */
  async ready(): Promise<SystemUrls> {
    const line = new Promise<string>((resolve) => {
      const look = (): void => {
        if (this.stdout.includes('\n')) resolve(this.stdout.slice(0, this.stdout.indexOf('\n')));
      };
      this.process.stdout?.on('data', look);
      look();
    });
    const death = this.ended.then((code) => {
      throw new Error(`The launcher ended with ${code}:\n${this.stderr}`);
    });
    return JSON.parse(await Promise.race([line, death])) as SystemUrls;
  }
}

/** The whole system as `npm start` runs it, on free ports, with its own state and configuration. */
export class Stack {
  readonly launcher: Launcher;
  readonly urls: SystemUrls;
  readonly config: string;
  readonly offset: number;

  private constructor(launcher: Launcher, urls: SystemUrls, config: string, offset: number) {
    this.launcher = launcher;
    this.urls = urls;
    this.config = config;
    this.offset = offset;
  }

  /** Where no offset was asked for, a port that somebody else has taken meanwhile is no failure: there are others. */
  static async start(options: StackOptions = {}): Promise<Stack> {
    for (let tries = 1; ; tries++) {
      try {
        return await Stack.#startOnce(options);
      } catch (error) {
        if (options.offset !== undefined || tries === MOST_STARTS || !/ in use/.test(String(error))) throw error;
      }
    }
  }

  static async #startOnce(options: StackOptions): Promise<Stack> {
    const config = options.config ?? copyOfConfig();
    const offset = options.offset ?? (await freeOffset());
    const args = ['--json', '--state', options.state ?? temporaryFolder(), '--port-offset', String(offset), ...(options.canary ? ['--canary'] : [])];
    const launcher = new Launcher(args, { MLX_SERVING_CONFIG_DIR: config, MODEL: 'tiny', ...options.env });
    return new Stack(launcher, await launcher.ready(), config, offset);
  }

  get token(): string {
    return readFileSync(this.urls.adminTokenFile, 'utf8').trim();
  }

  children(): ChildRecord[] {
    return JSON.parse(readFileSync(this.urls.childrenFile, 'utf8')) as ChildRecord[];
  }

  /** @throws Error when there is no such process */
  child(name: string): ChildRecord {
    const found = this.children().find((child) => child.name === name);
    if (found === undefined) throw new Error(`There is no process ${name}.`);
    return found;
  }

  log(name: string): string {
    return readFileSync(this.child(name).log, 'utf8');
  }

  /** How often a service has read a changed configuration, as its log says. */
  reloadsOf(name: string): number {
    return this.log(name).split('configuration reloaded').length - 1;
  }

  /** Ctrl-C. @returns the exit code */
  stop(): Promise<number | null> {
    return this.launcher.stop();
  }
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'mlx-serving-e2e-'));
}

export function copyOfConfig(): string {
  const folder = temporaryFolder();
  cpSync(join(root, 'config'), folder, { recursive: true });
  return folder;
}

/** Ports that no browser, and so no fetch, talks to (Fetch Standard, "bad port"), of those that an offset can lead to. */
const BAD_PORTS: ReadonlySet<number> = new Set([3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080]);

/** An offset at which every port is free, and can be fetched from. */
export async function freeOffset(): Promise<number> {
  for (;;) {
    const offset = 100 + Math.floor(Math.random() * 9_000);
    const ports = Object.values(portsFor(offset));
    if (ports.some((port) => BAD_PORTS.has(port))) continue;
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return offset;
  }
}
