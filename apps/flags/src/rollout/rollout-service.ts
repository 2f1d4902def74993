import type { ApprovalService } from '../approval/approval-service.ts';
import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import type { Change, PendingChange } from '../flags/flag-change.ts';
import { assertAt, type FlagsService, type FlagWrite } from '../flags/flags-service.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { ReadableRecord, RecordReader } from '../snapshot/record-reader.ts';
import type { RecordGuard } from '../store/flag-store.ts';
import { type Rollout, rolloutRecord, type RolloutStage } from './rollout-record.ts';

export interface RolloutServiceOptions {
  readonly live: LiveFlags;
  readonly writer: FlagWriter;
  readonly flags: FlagsService;
  readonly rules: ProductionRules;
  readonly approvals: ApprovalService;
  readonly records: RecordReader;
}

/** A rollout as it was read: by flag, with its text in the store. */
export type KnownRollout = ReadableRecord<Rollout>;

export type RolloutControl = 'pause' | 'resume' | 'abort';

/** Starts and controls rollouts; the driver takes them from stage to stage. A rollout changes a flag's percentage and nothing else. */
export class RolloutService {
  readonly #options: RolloutServiceOptions;

  constructor(options: RolloutServiceOptions) {
    this.#options = options;
  }

  list(): readonly KnownRollout[] {
    return this.#options.records.all('rollouts', rolloutRecord);
  }

  /** @throws ROLLOUT_NOT_FOUND */
  get(flag: string): KnownRollout {
    const found = this.#options.records.one('rollouts', flag, rolloutRecord);
    if (!found) throw errors.ROLLOUT_NOT_FOUND({ name: flag });
    return found;
  }

  /** The whole schedule is approved at once where its end needs a second person. */
  async start(flag: string, stages: readonly RolloutStage[], change: Pick<FlagWrite, 'actor' | 'reason' | 'approved' | 'ifRevision' | 'dependsOn'>): Promise<{ rollout: Rollout } | { pending: PendingChange }> {
    const { writer, flags, rules, approvals, live, records } = this.#options;
    writer.assertWritable();
    const present = flags.get(flag);
    const { config, kill, revision } = present;
    rules.assertReason(change);
    assertAt(flag, present, change);
    if (kill) throw errors.ROLLOUT_INVALID({ problem: `The flag ${flag} is killed: revive it first.` });
    if (!config.enabled) throw errors.ROLLOUT_INVALID({ problem: `The flag ${flag} is not enabled: a rollout changes the percentage alone.` });
    const [, former] = records.one('rollouts', flag, rolloutRecord) ?? [];
    if (former && (former.state === 'running' || former.state === 'paused')) throw errors.ROLLOUT_STATE({ name: flag, state: former.state });
    const why = change.approved ? undefined : rules.whyApproval(config, { ...config, rolloutPercentage: Math.max(...stages.map(({ percentage }) => percentage)) });
    const { actor, reason } = change;
    if (why !== undefined) return { pending: await approvals.ask({ action: 'rollout', flag, after: JSON.stringify(stages), revision, why, actor, reason }) };
    const rollout: Rollout = { stages: [...stages], stage: -1, state: 'running', note: '', nextAtMs: Date.now(), from: config.rolloutPercentage, actor, reason };
    await this.#put(flag, rollout, live.records.rollouts.get(flag), change, 'rollouts.start', change.dependsOn);
    return { rollout };
  }

  /**
   * Going on needs a reason in production; what makes it safer does not. An abort holds the rollout where it is, puts the
   * percentage back, and then says that it is aborted: one that fails on the way leaves a paused rollout, and is repeated.
   * @throws WRITE_CONTENDED when somebody else has changed the rollout meanwhile
   */
  async control(flag: string, control: RolloutControl, change: Change): Promise<Rollout> {
    if (control === 'resume') this.#options.rules.assertReason(change);
    const [, rollout, text] = this.get(flag);
    const { state } = rollout;
    const allowed = { pause: state === 'running', resume: state === 'paused' || state === 'stopped', abort: state === 'running' || state === 'paused' || state === 'stopped' }[control];
    if (!allowed) throw errors.ROLLOUT_STATE({ name: flag, state });
    const note = `${control} by ${change.actor}`;
    if (control !== 'abort') {
      const resumed = control === 'resume' ? { nextAtMs: Math.max(rollout.nextAtMs, Date.now()) } : {};
      return this.#put(flag, { ...rollout, ...resumed, state: control === 'resume' ? 'running' : 'paused', note }, text, change, `rollouts.${control}`);
    }
    const held = state === 'running' ? await this.#put(flag, { ...rollout, state: 'paused', note }, text, change, 'rollouts.pause') : rollout;
    await this.#putBack(flag, rollout.from, change);
    return this.#put(flag, { ...held, state: 'aborted', note }, state === 'running' ? JSON.stringify(held) : text, change, 'rollouts.abort');
  }

  /** To where the rollout began, unless somebody has lowered it further: an abort raises nothing. */
  async #putBack(flag: string, from: number, change: Change): Promise<void> {
    const { flags } = this.#options;
    if (flags.get(flag).config.rolloutPercentage <= from) return;
    await flags.patch(flag, JSON.stringify({ rolloutPercentage: from }), { ...change, reason: change.reason || 'The rollout was aborted.', action: 'rollout', approved: true });
  }

  /**
   * What the driver does with a rollout, told to the audit trail.
   * @param former the text of the rollout that the driver has looked at
   */
  async record(flag: string, rollout: Rollout, former: string, action: string): Promise<void> {
    await this.#put(flag, rollout, former, { actor: `rollout:${rollout.actor}`, reason: rollout.reason }, action);
  }

  /** @throws WRITE_CONTENDED when somebody else has changed the rollout meanwhile */
  async #put(flag: string, rollout: Rollout, former: string | undefined, { actor, reason }: Change, action: string, dependsOn?: RecordGuard): Promise<Rollout> {
    await this.#options.writer.putRecord({ kind: 'rollouts', id: flag, text: JSON.stringify(rollout), base: { text: former }, actor, reason, action, dependsOn, atMs: Date.now() });
    return rollout;
  }
}
