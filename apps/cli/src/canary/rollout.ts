import type { CommandContext } from '../command.ts';

/** A rollout as the admin REST interface shows it; the fields that the command uses. */
export interface Rollout {
  readonly phase: string;
  readonly status: string;
  readonly reason: string;
  readonly percentage: number;
  readonly stage: number;
  readonly stages: readonly { readonly percentage: number; readonly holdMs: number; readonly gate: boolean }[];
  readonly judgement?: Judgement;
  readonly counterfactual?: { readonly rollbacks: number; readonly log?: readonly { readonly atMs: number; readonly reason: string; readonly percentage: number }[] };
}

interface Judgement {
  readonly promotionProgress: number;
  readonly excessBadRequests?: number;
  readonly canaryUnits?: number;
  readonly baselineUnits?: number;
  readonly workerExits?: number;
  readonly memorySlopes?: readonly { readonly worker: string; readonly slope: number; readonly low: number; readonly high: number }[];
  readonly findings: readonly { readonly trigger: string; readonly severity: string; readonly slight?: boolean; readonly progress: number; readonly ratio?: number }[];
}

export interface Changed {
  readonly changed: boolean;
  readonly notes: readonly string[];
  readonly rollout: Rollout;
}

/** Options of every change. `--key` names it, so that a script may repeat it. */
export const changeOptions = { reason: { type: 'string' }, key: { type: 'string' } } as const;

/** The name that `--key` gives to a change. */
export function keyOf({ key }: CommandContext['values']): string {
  return typeof key === 'string' ? key : '';
}

/** What came of a change, in one line. */
export function lineOf({ changed, notes, rollout }: Changed): string {
  return notes.length > 0 ? notes.join('; ') : `${changed ? 'done' : 'unchanged'}: ${rollout.phase}, canary at ${rollout.percentage} %`;
}

/** A rollout for a person. */
export function describe({ phase, status, reason, percentage, stage, stages, judgement, counterfactual }: Rollout): string {
  return [
    `${status}${reason ? ` (${reason})` : ''}: ${phase}, canary at ${percentage} %, stage ${stage + 1} of ${Math.max(1, stages.length)}`,
    ...(judgement ? judgementLines(judgement) : []),
    ...(counterfactual && counterfactual.rollbacks > 0 ? [`  bare ratios would have rolled back at ${counterfactual.rollbacks} looks`] : []),
    ...(counterfactual?.log ?? []).map(({ atMs, reason: why, percentage: share }) => `    ${new Date(atMs).toISOString()} at ${share} %: ${why}`),
  ].join('\n');
}

function judgementLines({ promotionProgress, excessBadRequests = 0, canaryUnits, baselineUnits, workerExits = 0, memorySlopes = [], findings }: Judgement): string[] {
  const mb = (value: number): string => `${value >= 0 ? '+' : ''}${Math.round(value)}`;
  return [
    ...(canaryUnits === undefined ? [] : [`  seen in this stage: ${canaryUnits} of the canary, ${baselineUnits ?? 0} of the baseline`]),
    `  not worse: evidence ${percent(promotionProgress)}`,
    ...findings.map(({ trigger, severity, slight, progress, ratio }) => `  ${trigger} (${severity}): evidence ${percent(progress)}${ratio === undefined ? '' : `, ${ratio.toFixed(2)} times the baseline`}${slight ? ', surely worse but too little to act on' : ''}`),
    ...memorySlopes.map(({ worker, slope, low, high }) => `  memory of ${worker}: ${mb(slope)} MB an hour (${mb(low)} to ${mb(high)})`),
    ...(workerExits > 0 ? [`  exits of workers: ${workerExits}`] : []),
    ...(excessBadRequests >= 1 ? [`  bad requests beyond the baseline's rate: ${Math.round(excessBadRequests)}`] : []),
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
