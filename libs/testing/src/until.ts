/** Longest that `until` waits, in milliseconds: far beyond what a healthy run needs, so it fails only what hangs. */
const LIMIT_MS = 15_000;

/**
 * Waits until a condition holds, looking at every turn of the event loop's timers.
 * @throws when it does not come to hold
 */
export async function until(condition: () => boolean | Promise<boolean>, what = condition.toString()): Promise<void> {
  const start = performance.now();
  while (!(await condition())) {
    if (performance.now() - start > LIMIT_MS) throw new Error(`did not come to hold: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
