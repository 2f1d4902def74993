import type { CanaryFile } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { StageGate } from '../webhooks/stage-gate.ts';
import { followFile, routingOf } from './follow-file.ts';
import type { Cause, RolloutState } from './rollout-state.ts';
import type { StateKeeper } from './state-keeper.ts';

export interface FileFollowerOptions {
  readonly keeper: StateKeeper;
  readonly gate: StageGate;
  /** Unix time in milliseconds. */
  readonly wallClock: () => number;
  readonly logger: Logger;
}

/**
 * Lets the rollout follow `config/canary.yaml`. A greater share waits for the end of a cooldown and for whoever is asked
 * before a step, as one that a person deploys does; until then what held before holds. A smaller one waits for nobody.
 */
export class FileFollower {
  readonly #options: FileFollowerOptions;
  #waiting: string | undefined;

  constructor(options: FileFollowerOptions) {
    this.#options = options;
  }

  /** What the file's share waits for; undefined while it is followed. */
  get waiting(): string | undefined {
    return this.#waiting;
  }

  /** Asked again and again while it waits. @returns whether a rollout began */
  async follow(settings: CanaryFile['canary']): Promise<boolean> {
    const { keeper, gate } = this.#options;
    // Before it is known what is kept, no file begins anything.
    if (!keeper.known) {
      await keeper.change((state) => (state.file === routingOf(settings) ? state : { ...state, file: routingOf(settings) }));
      return false;
    }
    const { state } = keeper;
    this.#waitFor(await this.#refusal(state, followFile(state, settings, this.#cause)), settings);
    if (this.#waiting !== undefined) return false;
    const isSame = (now: RolloutState): boolean => now.id === state.id && now.phase === state.phase && now.stage === state.stage;
    const begun = await keeper.change((now) => (isSame(now) ? followFile(now, settings, this.#cause) : now));
    if (!begun || keeper.state.id === state.id) return false;
    gate.tell('started', keeper.state);
    return true;
  }

  async #refusal(state: RolloutState, next: RolloutState): Promise<string | undefined> {
    if (next.percentage <= state.percentage) return undefined;
    const seconds = Math.ceil((state.cooldownUntilMs - this.#options.wallClock()) / 1_000);
    if (seconds > 0) return 'the share in config/canary.yaml waits for the end of the cooldown';
    return (await this.#options.gate.allows(state, next)) ? undefined : 'a webhook refuses the share in config/canary.yaml';
  }

  #waitFor(reason: string | undefined, { rolloutPercentage }: CanaryFile['canary']): void {
    if (reason !== undefined && reason !== this.#waiting) this.#options.logger.warn({ rolloutPercentage, percentage: this.#options.keeper.state.percentage, reason }, 'the file is not followed yet');
    this.#waiting = reason;
  }

  get #cause(): Cause {
    return { nowMs: this.#options.wallClock(), actor: 'file', reason: 'config/canary.yaml' };
  }
}
