/** A rollout as the admin REST interface shows it; the fields that the command uses. */
export interface Rollout {
  readonly phase: string;
  readonly status: string;
  readonly reason: string;
  readonly percentage: number;
  readonly stage: number;
  readonly stages: readonly { readonly percentage: number; readonly holdMs: number; readonly gate: boolean }[];
  readonly judgement?: { readonly promotionProgress: number; readonly findings: readonly { readonly trigger: string; readonly severity: string; readonly progress: number; readonly ratio?: number }[] };
  readonly counterfactual?: { readonly rollbacks: number };
}

export interface Changed {
  readonly changed: boolean;
  readonly notes: readonly string[];
  readonly rollout: Rollout;
}

/** What came of a change, in one line. */
export function lineOf({ changed, notes, rollout }: Changed): string {
  return notes.length > 0 ? notes.join('; ') : `${changed ? 'done' : 'unchanged'}: ${rollout.phase}, canary at ${rollout.percentage} %`;
}

/** A rollout for a person. */
export function describe({ phase, status, reason, percentage, stage, stages, judgement, counterfactual }: Rollout): string {
  const findings = judgement?.findings.map(({ trigger, severity, progress, ratio }) => `  ${trigger} (${severity}): evidence ${percent(progress)}${ratio === undefined ? '' : `, ${ratio.toFixed(2)} times the baseline`}`) ?? [];
  return [
    `${status}${reason ? ` (${reason})` : ''}: ${phase}, canary at ${percentage} %, stage ${stage + 1} of ${Math.max(1, stages.length)}`,
    ...(judgement ? [`  not worse: evidence ${percent(judgement.promotionProgress)}`] : []),
    ...findings,
    ...(counterfactual && counterfactual.rollbacks > 0 ? [`  bare ratios would have rolled back at ${counterfactual.rollbacks} looks`] : []),
  ].join('\n');
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
