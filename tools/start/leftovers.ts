import { setTimeout as delay } from 'node:timers/promises';
import { isAlive } from './processes.ts';
import type { StateDirectory } from './state-directory.ts';

const POLL_MS = 20;
const GRACE_MS = 5_000;

/** Ends what a launcher that was killed left running on this state directory. */
export async function endLeftovers(state: StateDirectory, say: (line: string) => void): Promise<void> {
  const leftovers = state.leftovers();
  if (leftovers.length === 0) return;
  say(`ending what the last run left behind: ${leftovers.map(({ name, pid }) => `${name} (pid ${pid})`).join(', ')}`);
  const pids = leftovers.map(({ pid }) => pid);
  signalAll(pids, 'SIGTERM');
  const deadline = performance.now() + GRACE_MS;
  while (pids.some(isAlive) && performance.now() < deadline) await delay(POLL_MS);
  signalAll(pids.filter(isAlive), 'SIGKILL');
  while (pids.some(isAlive)) await delay(POLL_MS);
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}
