import type { ApprovalService } from '../approval/approval-service.ts';
import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import type { Change, PendingChange } from '../flags/flag-change.ts';
import type { FlagsService } from '../flags/flags-service.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import { readRollout, type Rollout, type RolloutStage } from './rollout-record.ts';

export interface RolloutServiceOptions {
  readonly live: LiveFlags;
  readonly writer: FlagWriter;
  readonly flags: FlagsService;
  readonly rules: ProductionRules;
  readonly approvals: ApprovalService;
}

export type RolloutControl = 'pause' | 'resume' | 'abort';

/** Starts and controls rollouts; the driver takes them from stage to stage. A rollout changes a flag's percentage and nothing else. */
export class RolloutService {
  readonly #options: RolloutServiceOptions;

  constructor(options: RolloutServiceOptions) {
    this.#options = options;
  }

  list(): [string, Rollout][] {
    return [...this.#options.live.records.rollouts].flatMap(([flag, text]) => {
      const rollout = readRollout(text);
      return rollout ? [[flag, rollout] as [string, Rollout]] : [];
    });
  }

  get(flag: string): Rollout {
    const rollout = readRollout(this.#options.live.records.rollouts.get(flag));
    if (!rollout) throw errors.ROLLOUT_NOT_FOUND({ name: flag });
    return rollout;
  }

  /** The whole schedule is approved at once where its end needs a second person. */
  async start(flag: string, stages: readonly RolloutStage[], change: Change & { approved?: boolean }): Promise<{ rollout: Rollout } | { pending: PendingChange }> {
    const { writer, flags, rules, approvals, live } = this.#options;
    writer.assertWritable();
    const { config, kill, revision } = flags.get(flag);
    rules.assertReason(change);
    if (kill) throw errors.ROLLOUT_INVALID({ problem: `The flag ${flag} is killed: revive it first.` });
    if (!config.enabled) throw errors.ROLLOUT_INVALID({ problem: `The flag ${flag} is not enabled: a rollout changes the percentage alone.` });
    const former = readRollout(live.records.rollouts.get(flag));
    if (former && (former.state === 'running' || former.state === 'paused')) throw errors.ROLLOUT_STATE({ name: flag, state: former.state });
    const why = change.approved ? undefined : rules.whyApproval(config, { ...config, rolloutPercentage: Math.max(...stages.map(({ percentage }) => percentage)) });
    const { actor, reason } = change;
    if (why !== undefined) return { pending: await approvals.ask({ action: 'rollout', flag, after: JSON.stringify(stages), revision, why, actor, reason }) };
    const rollout: Rollout = { stages: [...stages], stage: -1, state: 'running', note: '', nextAtMs: Date.now(), from: config.rolloutPercentage, actor, reason };
    await this.#put(flag, rollout, change, 'rollouts.start');
    return { rollout };
  }

  /** Going on needs a reason in production; what makes it safer does not. */
  async control(flag: string, control: RolloutControl, change: Change): Promise<Rollout> {
    const rollout = this.get(flag);
    if (control === 'resume') this.#options.rules.assertReason(change);
    const { state } = rollout;
    const allowed = { pause: state === 'running', resume: state === 'paused' || state === 'stopped', abort: state === 'running' || state === 'paused' || state === 'stopped' }[control];
    if (!allowed) throw errors.ROLLOUT_STATE({ name: flag, state });
    const next = { pause: 'paused', resume: 'running', abort: 'aborted' } as const;
    const changed: Rollout = { ...rollout, state: next[control], note: `${control} by ${change.actor}`, ...(control === 'resume' ? { nextAtMs: Math.max(rollout.nextAtMs, Date.now()) } : {}) };
    await this.#put(flag, changed, change, `rollouts.${control}`);
    if (control === 'abort') await this.#putBack(flag, rollout.from, change);
    return changed;
  }

  /** To where the rollout began, unless somebody has lowered it further: an abort raises nothing. */
  async #putBack(flag: string, from: number, change: Change): Promise<void> {
    const { flags } = this.#options;
    if (flags.get(flag).config.rolloutPercentage <= from) return;
    await flags.patch(flag, JSON.stringify({ rolloutPercentage: from }), { ...change, reason: change.reason || 'The rollout was aborted.', action: 'rollout', approved: true });
  }

  /** @throws WRITE_CONTENDED when somebody else has changed the rollout meanwhile */
  async #put(flag: string, rollout: Rollout, { actor, reason }: Change, action: string): Promise<void> {
    const { writer, live } = this.#options;
    await writer.putRecord({ kind: 'rollouts', id: flag, text: JSON.stringify(rollout), base: { text: live.records.rollouts.get(flag) }, actor, reason, action, atMs: Date.now() });
  }

  /** What the driver does with a rollout, told to the audit trail. */
  record(flag: string, rollout: Rollout, action: string): Promise<void> {
    return this.#put(flag, rollout, { actor: `rollout:${rollout.actor}`, reason: rollout.reason }, action);
  }
}
