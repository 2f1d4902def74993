import type { Logger } from '@mlx-serving/service-kit';
import type { FlagsService } from '../flags/flags-service.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { FlagStore, RecordGuard } from '../store/flag-store.ts';
import type { RolloutJudge } from './rollout-judge.ts';
import type { KnownRollout, RolloutService } from './rollout-service.ts';

const LEASE_MS = 5_000;

export interface RolloutDriverOptions {
  /** Of this replica: one replica acts, by a lease in the store. */
  readonly id: string;
  readonly store: Pick<FlagStore, 'takeLease'>;
  readonly live: LiveFlags;
  readonly flags: FlagsService;
  readonly rollouts: RolloutService;
  /** What the requests with and without each flag say. */
  readonly judge: Pick<RolloutJudge, 'follow' | 'problemOf'>;
  readonly tickMs: number;
  /** Why no rollout may go on now, such as an error rate that is too high; null when all is well. */
  readonly guard: () => Promise<string | null>;
  readonly logger: Logger;
}

/** Takes rollouts from stage to stage. Everything it knows is in the store, so a restart goes on where it was. */
export class RolloutDriver {
  readonly #options: RolloutDriverOptions;
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> = Promise.resolve();

  constructor(options: RolloutDriverOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#ticking = this.#ticking.then(() => this.tick());
    }, this.#options.tickMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#ticking;
  }

  async tick(): Promise<void> {
    const { store, id, rollouts, judge } = this.#options;
    const running = rollouts.list().filter(([, { state }]) => state === 'running');
    judge.follow(running);
    // Whoever sees the harm stops it; only going on is for the one with the lease.
    const harmless = await this.#stopHarmful(running);
    if (harmless.length === 0) return;
    const hasLease = await store.takeLease(id, LEASE_MS).catch((error: unknown) => this.#waits(error));
    if (!hasLease) return;
    for (const known of harmless) await this.#advance(known).catch((error: unknown) => this.#waits(error, known));
  }

  /** One that cannot be stopped or go on keeps no other from it. */
  #waits(error: unknown, [flag]: Partial<KnownRollout> = []): false {
    this.#options.logger.warn({ flag, problem: error instanceof Error ? error.message : String(error) }, 'a rollout waits');
    return false;
  }

  /** @returns those that may go on */
  async #stopHarmful(running: readonly KnownRollout[]): Promise<readonly KnownRollout[]> {
    const { judge, live } = this.#options;
    const harmless: KnownRollout[] = [];
    for (const known of running) {
      const present = live.get(known[0]);
      const problem = present && !present.kill ? judge.problemOf(known[0]) : undefined;
      if (problem === undefined) harmless.push(known);
      else await this.#rollBack(known, problem).catch((error: unknown) => this.#waits(error, known));
    }
    return harmless;
  }

  async #advance(known: KnownRollout): Promise<void> {
    const [flag, rollout, text] = known;
    const { live, rollouts, guard, logger } = this.#options;
    const present = live.get(flag);
    const expected = rollout.stages[rollout.stage]?.percentage ?? rollout.from;
    const stop = (note: string): Promise<void> => {
      logger.warn({ flag, note }, 'a rollout has stopped');
      return rollouts.record(flag, { ...rollout, state: 'stopped', note }, text, 'rollouts.stop');
    };
    if (!present) return stop('The flag is gone.');
    if (present.kill || present.config.killSwitch || live.emergency.killSwitch) return stop('The flag was killed.');
    // The next stage's percentage without its record: the driver was cut off between the two.
    const ours = [expected, rollout.stages[rollout.stage + 1]?.percentage];
    if (!ours.includes(present.config.rolloutPercentage)) return stop(`The percentage was changed to ${present.config.rolloutPercentage} by somebody else.`);
    const problem = await guard();
    if (problem !== null) return this.#rollBack(known, problem);
    if (Date.now() < rollout.nextAtMs) return;
    const next = rollout.stage + 1;
    const stage = rollout.stages[next];
    if (!stage) return rollouts.record(flag, { ...rollout, state: 'done', note: '' }, text, 'rollouts.done');
    await this.#setPercentage(known, stage.percentage, { kind: 'rollouts', id: flag, text });
    await rollouts.record(flag, { ...rollout, stage: next, nextAtMs: Date.now() + stage.waitMs, note: '' }, text, 'rollouts.stage');
    logger.info({ flag, stage: next, percentage: stage.percentage }, 'a rollout has reached a stage');
  }

  /** To where it began, unless somebody has lowered it further, and no further without an operator. */
  async #rollBack(known: KnownRollout, note: string): Promise<void> {
    const [flag, rollout, text] = known;
    const { live, rollouts, logger } = this.#options;
    logger.error({ flag, note }, 'a rollout is rolled back');
    const present = live.get(flag)?.config.rolloutPercentage ?? 0;
    if (present > rollout.from) await this.#setPercentage(known, rollout.from);
    await rollouts.record(flag, { ...rollout, stage: -1, state: 'stopped', note }, text, 'rollouts.rollback');
  }

  /** @param dependsOn the rollout as it was looked at: whoever has paused or aborted it since, or acts in its place, is not overridden */
  async #setPercentage([flag, { actor, reason }]: KnownRollout, rolloutPercentage: number, dependsOn?: RecordGuard): Promise<void> {
    await this.#options.flags.patch(flag, JSON.stringify({ rolloutPercentage }), { actor: `rollout:${actor}`, reason: reason || 'a stage of its rollout', action: 'rollout', approved: true, dependsOn });
  }
}
