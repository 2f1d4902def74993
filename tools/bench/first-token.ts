import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 10;
const LIMIT_MS = 120_000;

/**
 * Starts a server, and measures from there to the first token that it streams. It is stopped before this resolves.
 * @param url base of its OpenAI-compatible API
 * @returns seconds
 */
export async function secondsToFirstToken(command: readonly string[], env: NodeJS.ProcessEnv, url: string, model: string): Promise<number> {
  const [program = '', ...args] = command;
  const began = performance.now();
  const server = spawn(program, args, { env, stdio: 'ignore' });
  const ended = once(server, 'exit');
  try {
    while (!(await streamsToken(url, model))) {
      if (server.exitCode !== null || performance.now() - began > LIMIT_MS) throw new Error(`${command.join(' ')} never answered.`);
      await delay(POLL_MS);
    }
    return (performance.now() - began) / 1000;
  } finally {
    server.kill('SIGTERM');
    await ended;
  }
}

/** Whether one streamed answer brings a token. It is left at the first one. */
async function streamsToken(url: string, model: string): Promise<boolean> {
  const body = JSON.stringify({ model, stream: true, max_tokens: 8, temperature: 0, messages: [{ role: 'user', content: 'Hello' }] });
  const left = new AbortController();
  try {
    const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: left.signal });
    if (!response.ok || response.body === null) return false;
    let text = '';
    for await (const bytes of response.body) {
      text += Buffer.from(bytes as Uint8Array).toString();
      if (/"content":\s*"[^"]/.test(text)) return true;
    }
    return false;
  } catch {
    return false; // It does not listen yet.
  } finally {
    left.abort();
  }
}
