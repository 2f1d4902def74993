import { z } from 'zod';
import { percentage } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import { readText } from '../store/read-text.ts';

const HOUR_MS = 3_600_000;
const MAX_STAGES = 50;

const stage = z.object({ percentage, waitMs: z.number().int().min(0) });

export const rolloutRecord = z.object({
  stages: z.array(stage).min(1).max(MAX_STAGES),
  /** Index of the stage in force; -1 before the first. */
  stage: z.number().int(),
  state: z.enum(['running', 'paused', 'done', 'aborted', 'stopped']),
  /** Why it is in this state. */
  note: z.string(),
  nextAtMs: z.number(),
  /** The percentage before the start, to which an abort goes back. */
  from: z.number(),
  actor: z.string(),
  reason: z.string(),
});

/** A flag's percentage that rises in stages (SPEC F24). */
export type Rollout = z.infer<typeof rolloutRecord>;
export type RolloutStage = z.infer<typeof stage>;

/** The seeds' schedules: the feature flag reference's, and the kill switch guide's steps with a day between. */
const PRESETS: Readonly<Record<string, readonly RolloutStage[]>> = {
  seeds: [
    { percentage: 1, waitMs: 24 * HOUR_MS },
    { percentage: 10, waitMs: 48 * HOUR_MS },
    { percentage: 50, waitMs: 72 * HOUR_MS },
    { percentage: 100, waitMs: 7 * 24 * HOUR_MS },
  ],
  gradual: [1, 5, 10, 25, 50, 100].map((value) => ({ percentage: value, waitMs: 24 * HOUR_MS })),
};

/** @throws ROLLOUT_INVALID */
export function readStages(preset: string, given: readonly RolloutStage[]): RolloutStage[] {
  if (given.length === 0) {
    const found = Object.hasOwn(PRESETS, preset) ? PRESETS[preset] : undefined;
    if (!found) throw errors.ROLLOUT_INVALID({ problem: `Give stages, or one of the presets ${Object.keys(PRESETS).join(', ')}.` });
    return [...found];
  }
  const parsed = rolloutRecord.shape.stages.safeParse(given);
  if (!parsed.success) throw errors.ROLLOUT_INVALID({ problem: parsed.error.issues.map((issue) => `stages.${issue.path.join('.')}: ${issue.message}`).join('; ') });
  if (given.some(({ percentage: value }, i) => i > 0 && value <= given[i - 1]!.percentage)) throw errors.ROLLOUT_INVALID({ problem: 'Each stage must be higher than the one before.' });
  return parsed.data;
}

/** @returns undefined for a record that cannot be read */
export function readRollout(text: string | undefined): Rollout | undefined {
  return readText(rolloutRecord, text);
}
