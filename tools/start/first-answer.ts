import { LaunchError } from './options.ts';

const TIMEOUT_MS = 120_000;

/**
 * Streams one answer through the gateway.
 * @returns its text
 * @throws LaunchError when there is no complete answer
 */
export async function streamOneAnswer(gateway: string, model: string): Promise<string> {
  const body = { model, stream: true, max_tokens: 32, temperature: 0, messages: [{ role: 'user', content: 'Hello' }] };
  const response = await fetch(`${gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await response.text();
  if (!response.ok || !text.includes('data: [DONE]')) throw new LaunchError(`The gateway answered ${response.status}: ${text.slice(0, 500)}`);
  return contentOf(text);
}

/** The text that the events of a chat completion stream add up to. */
export function contentOf(events: string): string {
  const payloads = events.split('\n').filter((line) => line.startsWith('data: {'));
  return payloads
    .map((line) => JSON.parse(line.slice('data: '.length)) as { choices?: { delta?: { content?: string } }[] })
    .map(({ choices }) => choices?.[0]?.delta?.content ?? '')
    .join('');
}
