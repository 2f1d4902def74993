import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 25;

/**
 * Polls until a check neither throws nor answers false.
 * @throws what the check last threw, when the time is over
 */
export async function eventually<T>(check: () => T | Promise<T>, limitMs = 20_000): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    try {
      const answer = await check();
      if (answer !== false) return answer;
      if (performance.now() > deadline) throw new Error(`It did not come true within ${limitMs} ms: ${check.toString()}`);
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await delay(POLL_MS);
  }
}
