import { Agent, request as httpRequest } from 'node:http';

/** What came of one request. */
export interface Outcome {
  readonly urgent: boolean;
  /** `late`: it was taken and did not end in time. */
  readonly kind: 'ok' | 'refused' | 'late';
  /** Milliseconds to the first token; of a refusal to the answer. */
  readonly firstMs: number;
  readonly totalMs: number;
}

/** Of a request that is taken: from its arrival to its last token. */
export const DEADLINE_MS = 2_000;
export const MAX_TOKENS = 48;
const WORDS = 'the canary of gateway a limit holds when every worker waits and no request is lost in the queue of tokens that come'.split(' ');

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
let count = 0;

/** A prompt that nobody has sent before, of some sixty words. */
function prompt(): string {
  const number = ++count;
  return Array.from({ length: 60 }, (_, at) => WORDS[(number * 31 + at * (1 + (number % 7))) % WORDS.length]).join(' ') + ` ${number}`;
}

/** Streams one chat completion. Never rejects. */
export function send(url: string, urgent: boolean): Promise<Outcome> {
  const body = JSON.stringify({ model: 'tiny', stream: true, temperature: 0, max_tokens: MAX_TOKENS, messages: [{ role: 'user', content: prompt() }] });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), 'x-request-timeout-ms': String(DEADLINE_MS), ...(urgent ? {} : { 'x-mlx-serving-priority': 'background' }) };
  const began = performance.now();
  return new Promise((resolve) => {
    let firstMs = Number.NaN;
    let text = '';
    const end = (kind: Outcome['kind']): void => {
      const totalMs = performance.now() - began;
      resolve({ urgent, kind, firstMs: Number.isNaN(firstMs) ? totalMs : firstMs, totalMs });
    };
    const sent = httpRequest(`${url}/v1/chat/completions`, { method: 'POST', agent, headers }, (response) => {
      const refused = response.statusCode === 429 || response.statusCode === 503;
      response.on('data', (part: Buffer) => {
        text = text.slice(-200) + part.toString();
        if (Number.isNaN(firstMs) && /"content":"[^"]/.test(text)) firstMs = performance.now() - began;
      });
      response.on('end', () => end(response.statusCode === 200 && text.includes('[DONE]') ? 'ok' : refused ? 'refused' : 'late'));
      response.on('error', () => end('late'));
    });
    sent.on('error', () => end('late'));
    sent.end(body);
  });
}
