import { setTimeout as delay } from 'node:timers/promises';

/** What the gateway's /health/ready tells of the system around it. */
interface GatewayDetails {
  readonly links?: Readonly<Record<string, 'up' | 'down'>>;
  readonly workers?: Readonly<Record<string, { serving: number; configured: number }>>;
}

const POLL_MS = 50;

/**
 * Waits until the gateway has met its controllers and every worker: each service is ready before, but not yet known to the gateway.
 * @param limitMs how long at most, in milliseconds
 * @returns what is still missing when the time is over; empty when nothing is
 */
export async function waitForCircle(gatewayOperationsPort: number, limitMs: number): Promise<string[]> {
  const until = performance.now() + limitMs;
  for (;;) {
    const missing = missingOf(await detailsOf(gatewayOperationsPort));
    if (missing.length === 0 || performance.now() > until) return missing;
    await delay(POLL_MS);
  }
}

/** The links that are down and the workers that do not serve, by name. */
export function missingOf({ links = {}, workers = {} }: GatewayDetails): string[] {
  const down = Object.entries(links).filter(([, state]) => state !== 'up');
  const idle = Object.entries(workers).filter(([, { serving, configured }]) => serving < configured);
  return [...down.map(([name]) => `the link to ${name}`), ...idle.map(([variant]) => `a ${variant} worker`)];
}

async function detailsOf(port: number): Promise<GatewayDetails> {
  const answer = await fetch(`http://127.0.0.1:${port}/health/ready`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
  return answer === undefined ? { links: { gateway: 'down' } } : ((await answer.json()) as GatewayDetails);
}
