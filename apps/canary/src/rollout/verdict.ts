import { type CanaryFile, CRASH_ALPHA, DEFAULT_ALPHA, type Evidence, exitsTooOften, type Finding, judge, type Judgement, type MemorySlope, STATISTICAL_TRIGGERS, type StatisticalTrigger } from '@mlx-serving/policy';
import type { RolloutState } from './rollout-state.ts';

export type Severity = CanaryFile['rollback']['triggers'][number]['severity'];

/** How the memory of one worker grows. */
export interface WorkerSlope extends MemorySlope {
  /** `host:port`. */
  readonly worker: string;
}

/** What the canary's workers do, apart from requests. */
export interface WorkerFacts {
  /** They were there, and none is there now. */
  readonly gone: boolean;
  readonly slopes: readonly WorkerSlope[];
}

export interface FiredTrigger {
  readonly name: string;
  readonly severity: Severity;
}

export interface Verdict {
  readonly judgement: Judgement;
  readonly findings: readonly (Finding & { readonly severity: Severity })[];
  readonly fired: readonly FiredTrigger[];
  readonly workers: WorkerFacts;
}

type Triggers = CanaryFile['rollback']['triggers'];

/** Exits within EXIT_WINDOW_MS that need no test. */
const HARD_EXITS = 3;
const EXIT_WINDOW_MS = 600_000;

/** All triggers, those of the configuration and those that always hold: no test is needed when everything fails. */
export function verdictOf(evidence: Evidence, { exits, requestsBefore }: Pick<RolloutState, 'exits' | 'requestsBefore'>, { triggers, blastRadius }: CanaryFile['rollback'], workers: WorkerFacts, nowMs: number): Verdict {
  const judged = triggers.flatMap(({ name, threshold }) => (isStatistical(name) ? [{ name, threshold }] : []));
  const severities = new Map<string, Severity>(triggers.map(({ name, severity }) => [name, severity]));
  const judgement = judge(evidence, { triggers: judged, alpha: DEFAULT_ALPHA - CRASH_ALPHA, blastRadius });
  const findings = judgement.findings.map((finding) => ({ ...finding, severity: severities.get(finding.name) ?? 'warning' }));
  const always: [string, boolean][] = [
    ['worker_gone', workers.gone],
    ['failed_at_once', judgement.failedAtOnce],
    ['blast_radius', judgement.blastRadiusExceeded],
    ['worker_exits', exits.atMs.filter((atMs) => nowMs - atMs < EXIT_WINDOW_MS).length >= HARD_EXITS],
  ];
  return {
    judgement,
    findings,
    workers,
    fired: [
      ...always.flatMap(([name, holds]) => (holds ? [{ name, severity: 'critical' as const }] : [])),
      ...findings.flatMap(({ name, severity, fired, slight }) => (fired ? [{ name, severity }] : slight ? [{ name, severity: 'warning' as const }] : [])),
      ...watched(triggers, exits.count, requestsBefore + evidence.requests.canary, workers),
    ],
  };
}

function watched(triggers: Triggers, exits: number, requests: number, { slopes }: WorkerFacts): FiredTrigger[] {
  return triggers.flatMap(({ name, threshold, severity }) => {
    const holds =
      (name === 'memory_leak' && slopes.some(({ low }) => low > threshold)) ||
      (name === 'crash_rate' && exitsTooOften({ exits, requests }, threshold));
    return holds ? [{ name, severity }] : [];
  });
}

function isStatistical(name: string): name is StatisticalTrigger {
  return name in STATISTICAL_TRIGGERS;
}
