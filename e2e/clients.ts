import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { contentOf } from '../tools/start/first-answer.ts';
import { root, type Stack } from './stack.ts';

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export const question: readonly Message[] = [{ role: 'user', content: 'Explain the canary.' }];
export const MAX_TOKENS = 40;

/** What a client got: its text and what was decided for it. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly variant: string;
  readonly flags: readonly string[];
  readonly revision: string;
  readonly body: string;
}

export interface ChatOptions {
  readonly user?: string;
  readonly messages?: readonly Message[];
  readonly maxTokens?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Streams one chat completion by plain HTTP. */
export async function chat(stack: Stack, { user, messages = question, maxTokens = MAX_TOKENS, headers = {} }: ChatOptions = {}): Promise<Answer> {
  const response = await fetch(`${stack.urls.gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'tiny', stream: true, temperature: 0, max_tokens: maxTokens, messages, ...(user === undefined ? {} : { user }) }),
  });
  const body = await response.text();
  const header = (name: string): string => response.headers.get(`x-mlx-serving-${name}`) ?? '';
  return {
    status: response.status,
    text: response.ok ? contentOf(body) : '',
    variant: header('variant'),
    flags: header('flags').split(',').filter(Boolean),
    revision: header('revision'),
    body,
  };
}

/** Calls the admin API. @throws Error unless the answer is a success */
export async function admin<T = Record<string, unknown>>(stack: Stack, method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${stack.urls.admin}${path}`, {
    method,
    headers: { authorization: `Bearer ${stack.token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}

/** Runs a command to its end. @throws Error when it fails */
export async function output(command: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<string> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  // One that has ended before it read its input says why by its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}:\n${stderr}`);
  return stdout;
}

/** What the commands need to know of a system. */
export function commandEnvironment({ urls, config }: Stack): NodeJS.ProcessEnv {
  return { MLX_SERVING_ADMIN_URL: urls.admin, MLX_SERVING_GATEWAY_URL: urls.gateway, MLX_SERVING_ADMIN_TOKEN_FILE: urls.adminTokenFile, MLX_SERVING_CONFIG_DIR: config };
}

/** Runs a script of tools/ against a system, as its operator would. @throws Error when it fails */
export function toolOf(stack: Stack, script: string, ...args: string[]): Promise<string> {
  return output([join(root, 'tools', script), ...args], '', commandEnvironment(stack));
}

/** The Python that has the worker and the clients. */
export function pythonInterpreter(): string {
  return process.env['MLX_SERVING_PYTHON'] ?? join(root, 'python-worker', '.venv', 'bin', 'python');
}

/** Runs a script of e2e/python with the question as its input. @returns what it printed as JSON */
export async function python<T>(script: string, ...args: string[]): Promise<T> {
  const input = JSON.stringify({ messages: question, max_tokens: MAX_TOKENS });
  return JSON.parse(await output([pythonInterpreter(), join(root, 'e2e', 'python', script), ...args], input)) as T;
}
