import type { ExecutorState } from '@mlx-serving/policy';

/** A state whose times lie so much earlier: the clock went back while nobody looked, and nothing may last longer for it. */
export function earlier(state: ExecutorState, ms: number): ExecutorState {
  if (ms === 0) return state;
  const shifted = (times: Readonly<Record<string, number>>): Record<string, number> => Object.fromEntries(Object.entries(times).map(([key, at]) => [key, at - ms]));
  return {
    ...state,
    leases: state.leases.map((lease) => ({
      ...lease,
      sinceMs: lease.sinceMs - ms,
      untilMs: lease.untilMs - ms,
      steppedMs: lease.steppedMs - ms,
      goodSinceMs: lease.goodSinceMs === undefined ? undefined : lease.goodSinceMs - ms,
    })),
    moves: state.moves.map((move) => ({ ...move, atMs: move.atMs - ms })),
    frozen: shifted(state.frozen),
    barred: shifted(state.barred),
  };
}
