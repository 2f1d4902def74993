import type { Actuator, Move } from './executor-state.ts';

/** Changes of direction that make a loop: up, down, up, down. */
const LOOP_REVERSALS = 3;

function movesOf(moves: readonly Move[], actuator: Actuator): Move[] {
  return moves.filter((move) => move.actuator === actuator);
}

/** Moves that went the other way than the one before them. */
function reversals(moves: readonly Move[], actuator: Actuator): Move[] {
  const own = movesOf(moves, actuator);
  return own.filter((move, at) => at > 0 && own[at - 1]?.direction !== move.direction);
}

/** Whether the last moves of an actuator go in circles. */
export function isLoop(moves: readonly Move[], actuator: Actuator, lookedAt: number): boolean {
  return reversals(movesOf(moves, actuator).slice(-lookedAt), actuator).length >= LOOP_REVERSALS;
}

/** Whether a move would be the second change of direction within the time. */
export function isSecondReversal(moves: readonly Move[], actuator: Actuator, direction: 1 | -1, sinceMs: number): boolean {
  const last = movesOf(moves, actuator).at(-1);
  if (!last || last.direction === direction) return false;
  return reversals(moves, actuator).some(({ atMs }) => atMs > sinceMs);
}
