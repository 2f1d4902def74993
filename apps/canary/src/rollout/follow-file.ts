import { randomUUID } from 'node:crypto';
import type { CanaryFile } from '@mlx-serving/policy';
import { type Cause, type RolloutState, started } from './rollout-state.ts';

/**
 * What the rollout becomes under a file. One that routes as the last one changes nothing. One that says what holds anyway,
 * as after `deploy --config`, is taken for the same rollout; any other begins a rollout of its own.
 */
export function followFile(state: RolloutState, { rolloutPercentage, strategy, hashKey, hashSeed }: CanaryFile['canary'], cause: Cause): RolloutState {
  const split = [strategy, hashKey, hashSeed];
  const file = JSON.stringify([rolloutPercentage, ...split]);
  if (state.file === file) return state;
  const splitsAlike = state.file !== '' && JSON.stringify((JSON.parse(state.file) as unknown[]).slice(1)) === JSON.stringify(split);
  if (splitsAlike && holds(state, rolloutPercentage)) return { ...state, file };
  return started(state, { id: randomUUID(), source: 'file', file, stages: [{ percentage: rolloutPercentage, holdMs: 0, gate: false }] }, cause);
}

/** A rollout by stages may be beyond the share that its start wrote down. */
function holds({ phase, source, stages, percentage: present }: RolloutState, percentage: number): boolean {
  if (phase === 'rolling_back') return percentage === 0;
  const isStage = source === 'deploy' && (phase === 'running' || phase === 'paused') && stages.some((stage) => stage.percentage === percentage);
  return isStage || present === percentage;
}
