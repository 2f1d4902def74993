import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.ts';
import { root, type Stack } from './stack.ts';

/** What the admin REST interface or the gateway answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- the JSON under test
}

/** One answer of OFREP. */
export interface Evaluation {
  readonly value?: unknown;
  readonly reason?: string;
  readonly variant?: string;
  readonly errorCode?: string;
}

/** A running system as somebody sees it who works with flags. */
export class FlagsStack {
  readonly stack: Stack;
  readonly redis: Redis;

  constructor(stack: Stack) {
    this.stack = stack;
    this.redis = new Redis(stack.urls.redis, { maxRetriesPerRequest: 1 });
    this.redis.on('error', () => undefined);
  }

  get file(): string {
    return join(this.stack.config, 'feature-flags.yaml');
  }

  editFile(change: (text: string) => string): void {
    writeFileSync(this.file, change(readFileSync(this.file, 'utf8')));
  }

  close(): void {
    this.redis.disconnect();
  }

  /** Calls the admin REST interface; by default with the root token. */
  async admin(method: string, path: string, body?: unknown, headers: Record<string, string> = {}, base = this.stack.urls.admin): Promise<Answer> {
    const payload = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    return answerOf(await fetch(`${base}${path}`, { method, headers: { authorization: `Bearer ${this.stack.token}`, ...headers }, ...payload }));
  }

  /** Writes a flag. @throws Error when it was refused */
  async set(name: string, definition: object): Promise<Answer> {
    const answer = await this.admin('POST', `/admin/flags/${name}`, { enabled: true, ...definition });
    if (answer.status !== 200) throw new Error(`${name} was refused: ${answer.text}`);
    return answer;
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return answerOf(await fetch(`${this.stack.urls.gateway}${path}`, { headers }));
  }

  /** Whether a flag is on for a user, as the gateway answers clients. */
  async isOn(name: string, user?: string): Promise<boolean> {
    return (await this.get(`/api/flags/${name}${user === undefined ? '' : `?user=${user}`}`)).body.enabled as boolean;
  }

  async onAmong(name: string, users: readonly string[]): Promise<readonly string[]> {
    const answers = await Promise.all(users.map((user) => this.isOn(name, user)));
    return users.filter((_, index) => answers[index]);
  }

  async evaluate(name: string, targetingKey: string | undefined, attributes: object = {}): Promise<Evaluation> {
    const context = { ...(targetingKey === undefined ? {} : { targetingKey }), ...attributes };
    const response = await fetch(`${this.stack.urls.gateway}/ofrep/v1/evaluate/flags/${name}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ context }) });
    return (await response.json()) as Evaluation;
  }

  async health(service: string): Promise<any> { // eslint-disable-line @typescript-eslint/no-explicit-any -- the JSON under test
    return (await fetch(`${this.stack.urls.operations[service]}/health/ready`)).json();
  }

  async metrics(service: string): Promise<string> {
    return (await fetch(`${this.stack.urls.operations[service]}/metrics`)).text();
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = /^application\/json\b/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, text, body: isJson ? (JSON.parse(text) as unknown) : undefined };
}

export const users = (count: number): string[] => Array.from({ length: count }, (_, index) => `user-${index}`);

/** The rule of the source documents, word for word: the first eight digits of the md5, modulo 100, below the percentage. */
export function seedsRule(key: string, seed: string, percentage: number): boolean {
  return Number.parseInt(createHash('md5').update(`${key}:${seed}`).digest('hex').slice(0, 8), 16) % 100 < percentage;
}

/** A service process beside those of the stack, on the same Redis, files and state. */
export class ServiceProcess {
  readonly #child: ChildProcess;
  readonly #operations: string;

  private constructor(child: ChildProcess, operations: string) {
    this.#child = child;
    this.#operations = operations;
  }

  /** Starts it and waits until it is ready. @param operationsPort the port of its health */
  static async start({ stack }: FlagsStack, name: string, operationsPort: number, env: Record<string, string>): Promise<ServiceProcess> {
    const common = { MLX_SERVING_STATE_DIR: stack.urls.state, MLX_SERVING_CONFIG_DIR: stack.config, REDIS_URL: stack.urls.redis, MLX_SERVING_LOG_LEVEL: 'warn' };
    const args = ['--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', join(root, 'apps', name, 'src', 'main.ts')];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...common, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
    const started = new ServiceProcess(child, `http://127.0.0.1:${operationsPort}`);
    await eventually(async () => (await fetch(`${started.#operations}/health/ready`)).status === 200);
    return started;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}
