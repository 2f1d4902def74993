import { randomUUID } from 'node:crypto';
import type { CanaryFile } from '@mlx-serving/policy';
import { type Cause, type RolloutState, started } from './rollout-state.ts';

/**
 * What the rollout becomes under a file. One that routes as the last one changes nothing. One that says what holds anyway,
 * as after `deploy --config`, is taken for the same rollout; any other begins a rollout of its own.
 */
export function followFile(state: RolloutState, settings: CanaryFile['canary'], cause: Cause): RolloutState {
  const { rolloutPercentage } = settings;
  const split = splitOf(settings);
  const file = routingOf(settings);
  if (state.file === file) return state;
  const splitsAlike = state.file !== '' && JSON.stringify((JSON.parse(state.file) as unknown[]).slice(1)) === JSON.stringify(split);
  if (splitsAlike && holds(state, rolloutPercentage)) return { ...state, file };
  return started(state, { id: randomUUID(), source: 'file', file, stages: [{ percentage: rolloutPercentage, holdMs: 0, gate: false }] }, cause);
}

/** What a file says about routing, as a rollout remembers it. */
export function routingOf(settings: CanaryFile['canary']): string {
  return JSON.stringify([settings.rolloutPercentage, ...splitOf(settings)]);
}

function splitOf({ strategy, hashKey, hashSeed }: CanaryFile['canary']): string[] {
  return [strategy, hashKey, hashSeed];
}

/**
 * The settings with the split of the rollout, which is the file's unless that is not followed yet. While the canary has a
 * share nothing is repeated at it: that would be a load that the baseline has not, and the canary would be found slow.
 */
export function inForce({ shadow, ...rest }: CanaryFile['canary'], { file, percentage }: RolloutState): CanaryFile['canary'] {
  const settings = { ...rest, shadow: percentage > 0 ? { ...shadow, percentage: 0 } : shadow };
  if (file === '') return { ...settings, rolloutPercentage: percentage };
  const [, strategy, hashKey, hashSeed] = JSON.parse(file) as [number, CanaryFile['canary']['strategy'], string, string];
  return { ...settings, strategy, hashKey, hashSeed, rolloutPercentage: percentage };
}

/** A rollout by stages may be beyond the share that its start wrote down. */
function holds({ phase, source, stages, percentage: present }: RolloutState, percentage: number): boolean {
  if (phase === 'rolling_back') return percentage === 0;
  const isStage = source === 'deploy' && (phase === 'running' || phase === 'paused') && stages.some((stage) => stage.percentage === percentage);
  return isStage || present === percentage;
}
