import { randomUUID } from 'node:crypto';
import type { CanaryControlRequest } from '@mlx-serving/contracts';
import { percentage as percentageSchema } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import { aborted, advanced, type Cause, isOver, paused, promoted, resumed, rolledBack, type RolloutState, type Stage, started, withKey } from '../rollout/rollout-state.ts';
import type { RolloutService } from '../rollout/rollout-service.ts';
import type { StateKeeper } from '../rollout/state-keeper.ts';
import type { CanaryMetrics } from '../metrics.ts';
import type { StageGate } from '../webhooks/stage-gate.ts';

export interface ControlServiceOptions {
  readonly keeper: StateKeeper;
  readonly rollout: RolloutService;
  readonly gate: StageGate;
  /** Why the canary could get no traffic; undefined when it could. */
  readonly disabledReason: () => string | undefined;
  readonly metrics: CanaryMetrics;
  readonly wallClock: () => number;
}

const MOST_STAGES = 20;

type Action = NonNullable<CanaryControlRequest['action']['case']>;
/** What can be done before the kept rollout is known. */
const ENDING: ReadonlySet<Action> = new Set(['rollback', 'abort']);
type Change = (state: RolloutState, cause: Cause, request: CanaryControlRequest) => RolloutState;

/** What people do with a rollout. Asking twice for the same changes nothing the second time. */
export class ControlService {
  readonly #options: ControlServiceOptions;
  readonly #changes: Record<Action, Change> = {
    deploy: (state, cause, request) => this.#deploy(state, cause, request),
    pause: (state, cause) => (state.phase === 'paused' ? state : inPhase(state, ['running'], 'pause', () => paused(state, cause))),
    resume: (state, cause) => (state.phase === 'running' ? state : inPhase(state, ['paused'], 'resume', () => resumed(state, cause))),
    promote: (state, cause, request) => this.#promote(state, cause, request),
    abort: (state, cause) => (isOver(state) && state.phase !== 'promoted' ? state : aborted(state, cause)),
    retry: (state, cause, request) => this.#retry(state, cause, request),
    rollback: (state, cause, request) => this.#rollback(state, cause, request),
  };

  constructor(options: ControlServiceOptions) {
    this.#options = options;
  }

  /** @returns whether anything changed, and what a person should know @throws ServiceError when it cannot be done */
  async control(request: CanaryControlRequest): Promise<{ changed: boolean; notes: string[] }> {
    const { keeper, rollout, gate, metrics, wallClock } = this.#options;
    const action = this.#actionOf(request);
    const cause: Cause = { nowMs: wallClock(), actor: request.actor || 'admin', reason: request.reason || action };
    const next = (state: RolloutState): RolloutState => {
      if (request.idempotencyKey !== '' && state.keys.includes(request.idempotencyKey)) return state;
      const changed = this.#changes[action](state, cause, request);
      return changed === state ? state : withKey(changed, request.idempotencyKey);
    };
    if (request.dryRun) return this.#describe(next(keeper.state));
    if (!request.force) await this.#askBefore(next(keeper.state));
    const changed = await rollout.change(next);
    if (!keeper.acting) throw errors.NOT_ACTING();
    if (!changed) return { changed, notes: ['it was so already'] };
    if (action === 'rollback' || action === 'abort') metrics.rollbacks.inc({ reason: action === 'abort' ? 'aborted' : 'manual' });
    gate.tell(action, keeper.state);
    return { changed, notes: [] };
  }

  #actionOf({ action: { case: action } }: CanaryControlRequest): Action {
    const { keeper } = this.#options;
    if (!action) throw errors.ACTION_MISSING();
    if (!keeper.acting) throw errors.NOT_ACTING();
    if (!keeper.known && !ENDING.has(action)) throw errors.ROLLOUT_UNKNOWN();
    return action;
  }

  /** Whoever is asked before a stage is asked also when a person wants it. @throws WEBHOOK_REFUSED */
  async #askBefore(next: RolloutState): Promise<void> {
    const { keeper, gate } = this.#options;
    if (next.percentage <= keeper.state.percentage) return;
    const [url] = await gate.refusals(keeper.state, next);
    if (url !== undefined) throw errors.WEBHOOK_REFUSED({ url: new URL(url).host });
  }

  #describe(next: RolloutState): { changed: boolean; notes: string[] } {
    const now = this.#options.keeper.state;
    if (next === now) return { changed: false, notes: ['it is so already'] };
    return { changed: true, notes: [`dry run: the phase would be ${next.phase}, the canary's share ${next.percentage} % (now ${now.phase}, ${now.percentage} %)`] };
  }

  #deploy(state: RolloutState, cause: Cause, { action, force }: CanaryControlRequest): RolloutState {
    if (action.case !== 'deploy') return state;
    const { percentage, stages } = action.value;
    const given = stages.map(({ percentage: share, holdMs, gate }) => ({ percentage: share, holdMs: Number(holdMs), gate }));
    const plan: Stage[] = given.length > 0 ? given : [{ percentage, holdMs: 0, gate: false }];
    checkStages(plan);
    const same = state.source === 'deploy' && !isOver(state) && JSON.stringify(state.stages) === JSON.stringify(plan);
    if (same) return state;
    this.#checkStart(state, cause.nowMs, force);
    return started(state, { id: randomUUID(), source: 'deploy', file: state.file, stages: plan }, cause);
  }

  #retry(state: RolloutState, cause: Cause, { force }: CanaryControlRequest): RolloutState {
    if (state.phase === 'running') return state;
    return inPhase(state, ['rolled_back', 'aborted'], 'retry', () => {
      this.#checkStart(state, cause.nowMs, force);
      return started(state, { id: randomUUID(), source: state.source, file: state.file, stages: state.stages }, cause);
    });
  }

  #promote(state: RolloutState, cause: Cause, { action }: CanaryControlRequest): RolloutState {
    if (state.phase === 'promoted') return state;
    const full = action.case === 'promote' && action.value.full;
    return inPhase(state, ['running', 'paused'], 'promote', () => (full ? promoted(state, cause) : advanced(state, cause)));
  }

  #rollback(state: RolloutState, cause: Cause, { action }: CanaryControlRequest): RolloutState {
    const gradual = action.case === 'rollback' && action.value.gradual;
    if (state.phase === 'rolled_back' || state.phase === 'aborted' || (state.phase === 'rolling_back' && gradual)) return state;
    const moveUnstarted = action.case === 'rollback' && action.value.moveUnstarted;
    return rolledBack({ ...state, moveUnstarted }, { gradual, cooldownMs: this.#options.rollout.file.rollback.cooldownMs }, { ...cause, reason: cause.reason === 'rollback' ? 'manual' : cause.reason });
  }

  #checkStart({ cooldownUntilMs }: RolloutState, nowMs: number, force: boolean): void {
    if (force) return;
    const reason = this.#options.disabledReason();
    if (reason) throw errors.CANARY_NOT_READY({ reason });
    if (nowMs < cooldownUntilMs) throw errors.COOLING_DOWN({ seconds: Math.ceil((cooldownUntilMs - nowMs) / 1_000) });
  }
}

function inPhase(state: RolloutState, phases: readonly RolloutState['phase'][], action: string, change: () => RolloutState): RolloutState {
  if (!phases.includes(state.phase)) throw errors.WRONG_PHASE({ action, phase: state.phase });
  return change();
}

export function checkStages(stages: readonly Stage[]): void {
  const grows = stages.every(({ percentage }, index) => percentage > (stages[index - 1]?.percentage ?? -1));
  const valid = stages.every(({ percentage }) => percentageSchema.safeParse(percentage).success);
  if (!grows || !valid || stages.length > MOST_STAGES) throw errors.STAGES_INVALID();
}
