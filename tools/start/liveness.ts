import { setTimeout as delay } from 'node:timers/promises';
import { answersOk } from './readiness.ts';

const LOOK_EVERY_MS = 1_000;

/**
 * Waits until a service has not said for `limitMs` that it lives: a process that hangs, or that was stopped, ends by no
 * doing of its own.
 * @returns true when it is stuck, false when `signal` aborted first
 */
export async function untilStuck(port: number, limitMs: number, signal: AbortSignal): Promise<boolean> {
  let livedAt = performance.now();
  while (!signal.aborted) {
    if (await answersOk(port, '/health/live')) livedAt = performance.now();
    else if (!signal.aborted && performance.now() - livedAt >= limitMs) return true;
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}
