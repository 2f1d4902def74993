import type { Logger } from '@mlx-serving/service-kit';
import type { FlagsService } from '../flags/flags-service.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { FlagStore } from '../store/flag-store.ts';
import type { Rollout } from './rollout-record.ts';
import type { RolloutJudge } from './rollout-judge.ts';
import type { RolloutService } from './rollout-service.ts';

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
    if (running.length === 0) return;
    // Whoever sees the harm stops it; only going on is for the one with the lease.
    if (await this.#stopHarmful(running)) return;
    let acts = false;
    await this.#attempt('', async () => void (acts = await store.takeLease(id, LEASE_MS)));
    if (acts) for (const [flag, rollout] of running) await this.#attempt(flag, () => this.#advance(flag, rollout));
  }

  /** A rollout that cannot go on is tried again with the next tick, and holds up no other. */
  async #attempt(flag: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.logger.warn({ flag, problem: error instanceof Error ? error.message : String(error) }, 'a rollout waits');
    }
  }

  /** @returns whether any rollout was to be stopped */
  async #stopHarmful(running: readonly [string, Rollout][]): Promise<boolean> {
    const { judge, live } = this.#options;
    let stopped = false;
    for (const [flag, rollout] of running) {
      const problem = judge.problemOf(flag);
      if (problem === undefined || live.get(flag)?.kill) continue;
      await this.#attempt(flag, () => this.#rollBack(flag, rollout, problem));
      stopped = true;
    }
    return stopped;
  }

  async #advance(flag: string, rollout: Rollout): Promise<void> {
    const { live, rollouts, guard, logger } = this.#options;
    const present = live.get(flag);
    const expected = rollout.stages[rollout.stage]?.percentage ?? rollout.from;
    const stop = (note: string): Promise<void> => {
      logger.warn({ flag, note }, 'a rollout has stopped');
      return rollouts.record(flag, { ...rollout, state: 'stopped', note }, 'rollouts.stop');
    };
    if (!present) return stop('The flag is gone.');
    if (present.kill || present.config.killSwitch || live.emergency.killSwitch) return stop('The flag was killed.');
    // The next stage's percentage without its record: the driver was cut off between the two.
    const known = [expected, rollout.stages[rollout.stage + 1]?.percentage];
    if (!known.includes(present.config.rolloutPercentage)) return stop(`The percentage was changed to ${present.config.rolloutPercentage} by somebody else.`);
    const problem = await guard();
    if (problem !== null) return this.#rollBack(flag, rollout, problem);
    if (Date.now() < rollout.nextAtMs) return;
    const next = rollout.stage + 1;
    const stage = rollout.stages[next];
    if (!stage) return rollouts.record(flag, { ...rollout, state: 'done', note: '' }, 'rollouts.done');
    await this.#setPercentage(flag, stage.percentage, rollout);
    await rollouts.record(flag, { ...rollout, stage: next, nextAtMs: Date.now() + stage.waitMs, note: '' }, 'rollouts.stage');
    logger.info({ flag, stage: next, percentage: stage.percentage }, 'a rollout has reached a stage');
  }

  /** To where it began, unless somebody has lowered it further, and no further without an operator. */
  async #rollBack(flag: string, rollout: Rollout, note: string): Promise<void> {
    const { live, rollouts, logger } = this.#options;
    logger.error({ flag, note }, 'a rollout is rolled back');
    const present = live.get(flag)?.config.rolloutPercentage ?? 0;
    if (present > rollout.from) await this.#setPercentage(flag, rollout.from, rollout);
    await rollouts.record(flag, { ...rollout, stage: -1, state: 'stopped', note }, 'rollouts.rollback');
  }

  async #setPercentage(flag: string, rolloutPercentage: number, { actor, reason }: Rollout): Promise<void> {
    await this.#options.flags.patch(flag, JSON.stringify({ rolloutPercentage }), { actor: `rollout:${actor}`, reason: reason || 'a stage of its rollout', action: 'rollout', approved: true });
  }
}
