import type { Remediation, SloPolicy } from '../slo/slo-policy.ts';

/** `limit`, `shed` or `circuit:host:port`; of a dry run, `dry:` before it. Each has one owner. */
export type Actuator = string;

/** Something that is done because of a policy, until it is not needed any more. */
export interface RemediationLease {
  readonly id: string;
  readonly actuator: Actuator;
  readonly action: Remediation['type'];
  readonly policy: string;
  /** The SLO whose recovery ends it. */
  readonly slo: string;
  readonly priority: number;
  /** The concurrency limit, the share that is shed, or for a circuit 1 (open) and 0.5 (half open). */
  readonly value: number;
  readonly reason: string;
  readonly dryRun: boolean;
  readonly sinceMs: number;
  /** Runs out then, unless it is renewed. */
  readonly untilMs: number;
  /** Of the last step: when, and what the SLO measured then. */
  readonly steppedMs: number;
  readonly measuredThen: number | undefined;
  /** Since when the SLO has been good. */
  readonly goodSinceMs: number | undefined;
}

/** A change of an actuator. */
export interface Move {
  readonly actuator: Actuator;
  readonly action: Remediation['type'];
  readonly policy: string;
  readonly direction: 1 | -1;
  /** Whether it took something back. */
  readonly undo: boolean;
  readonly atMs: number;
}

export type Outcome = 'executed' | 'would_have' | 'withheld' | 'undone' | 'ran_out' | 'frozen' | 'alerted' | 'resolved';

/** Why something was done or not: inputs, bound, rule, outcome (SPEC Q4). */
export interface ActionRecord {
  readonly id: string;
  readonly atMs: number;
  readonly policy: string;
  readonly slo: string;
  readonly action: Remediation['type'];
  readonly actuator: Actuator;
  readonly outcome: Outcome;
  /** Why it came out so; see RULES. */
  readonly rule: Rule;
  readonly reason: string;
  readonly from: number | undefined;
  readonly to: number | undefined;
  /** What the SLO measured. */
  readonly inputs: { readonly value?: number; readonly bound?: number; readonly threshold: number; readonly samples: number; readonly windowMs: number };
  /** How often in a row the same was found. */
  readonly times: number;
  readonly lastMs: number;
}

/** Every rule, and what it says. */
export const RULES = {
  slo_violated: 'The SLO is violated, and nothing speaks against the action.',
  still_violated: 'The SLO is still violated after the cooldown: one more step.',
  recovered: 'The SLO has been good for recovery_ms.',
  ran_out: 'It was not renewed in time: nothing was heard that needed it.',
  policy_gone: 'The policy is not in force any more.',
  executor_off: 'The executor is off.',
  trial_good: 'The worker did well while the circuit was half open.',
  trial_bad: 'The worker did badly while the circuit was half open.',
  taken_over: 'A policy of higher priority took the actuator.',
  canary_judged: 'A variant is being judged; both must be treated alike.',
  no_worker: 'No worker is found to be the cause, or too few would be left.',
  frozen: 'The actuator went in circles, and stays at its own setting for a while.',
  owned: 'Another policy has the actuator.',
  at_bound: 'The actuator is at the end of its range.',
  cooldown: 'The same action was taken on the same target less than cooldown_ms ago.',
  budget: 'max_executions_per_window is used up.',
  reversal: 'The actuator has changed its direction once in execution_window_ms.',
  made_worse: 'The last step made it worse.',
  loop: 'Three changes of direction in the last loop_detection_window moves.',
} as const;

export type Rule = keyof typeof RULES;

/** An alert that was sent and not resolved. */
export interface OpenAlert {
  readonly key: string;
  readonly channel: string;
  readonly policy: string;
  readonly slo: string;
  readonly severity: SloPolicy['slos'][number]['severity'];
  readonly summary: string;
  readonly sinceMs: number;
}

/** All that must survive a restart; plain JSON. */
export interface ExecutorState {
  readonly sequence: number;
  readonly leases: readonly RemediationLease[];
  readonly moves: readonly Move[];
  /** Actuator to the end of its freeze. */
  readonly frozen: Readonly<Record<Actuator, number>>;
  /** Policy and action to when it may be tried again. */
  readonly barred: Readonly<Record<string, number>>;
  readonly alerts: readonly OpenAlert[];
  readonly records: readonly ActionRecord[];
}

export const EMPTY_STATE: ExecutorState = { sequence: 0, leases: [], moves: [], frozen: {}, barred: {}, alerts: [], records: [] };

/** Most records and moves that are kept. */
export const MOST_RECORDS = 500;
export const MOST_MOVES = 500;
