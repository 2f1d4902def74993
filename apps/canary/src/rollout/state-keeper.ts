import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '@mlx-serving/service-kit';
import { emptyState, hasEnded, type RolloutState, withEndOf } from './rollout-state.ts';
import type { RolloutStore } from './rollout-store.ts';

export interface StateKeeperOptions {
  readonly store: RolloutStore;
  /** This replica's name. One that restarts under the same name takes over its own lease at once. */
  readonly holder: string;
  /** Called when another replica acts from now on, when this one does, and when it took over a state that is not its own. */
  readonly onActing: (acting: boolean) => void;
  readonly logger: Logger;
  readonly leaseMs?: number;
}

const LEASE_MS = 3_000;
/** A busy machine may let the first command run out of its time, the connection included. */
const START_TRIES = 3;
const TRY_AGAIN_MS = 100;
/** Another replica may change the state while this one does. */
const MOST_TRIES = 5;

/**
 * The rollout's state, changed by one replica only, one change after the other. While the store is away the replica that
 * acts goes on from memory, and keeps what it did when the store is back: a rollback waits for nobody. What is kept by
 * somebody else meanwhile is never written over: it is taken over, and of ours only a rollback or an abort survives.
 */
export class StateKeeper {
  readonly #options: StateKeeperOptions;
  /** This process. Not its replica's name: what a process left on its way when it was killed is not of the next one. */
  readonly #writer: string = randomUUID();
  #state: RolloutState = emptyState;
  /** What was read last: ours follows it. */
  #read: Pick<RolloutState, 'version' | 'writer'> = emptyState;
  /** The version that the store has. */
  #kept = 0;
  #known = false;
  /** The store has said once who acts. */
  #answered = false;
  #acting = false;
  #unsaved = false;
  /** The lease may have been somebody else's since the store answered last. */
  #missed = false;
  #problem: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StateKeeperOptions) {
    this.#options = options;
  }

  get state(): RolloutState {
    return this.#state;
  }

  get acting(): boolean {
    return this.#acting;
  }

  /** Whether what is kept was read. Until then the rollout is at 0 %, and can only be ended. */
  get known(): boolean {
    return this.#known;
  }

  /** Why the state is not kept; undefined while it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes the lease when it is free. Never rejects. */
  async start(): Promise<void> {
    for (let tries = 1; tries <= START_TRIES && (tries === 1 || this.#problem !== undefined); tries++) {
      if (tries > 1) await delay(TRY_AGAIN_MS);
      await this.#enqueue(() => this.#renew(tries === START_TRIES));
    }
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.#enqueue(() => this.#renew()), (this.#options.leaseMs ?? LEASE_MS) / 3);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#queue;
    if (this.#acting) await this.#options.store.release(this.#options.holder).catch(() => undefined);
    this.#acting = false;
  }

  /** Looks after the lease and the store now. Never rejects. */
  renew(): Promise<void> {
    return this.#enqueue(() => this.#renew());
  }

  /**
   * Changes the state in one step. `next` gives the very state that it got when there is nothing to change; it is asked
   * again when another replica has changed the state meanwhile.
   * @returns whether it changed
   * @throws Error from `next`; then nothing changed
   */
  change(next: (state: RolloutState) => RolloutState): Promise<boolean> {
    return this.#enqueue(async () => {
      for (let tries = 0; tries < MOST_TRIES; tries++) {
        const before = this.#state;
        const changed = next(before);
        if (!this.#acting) return false;
        if (changed === before) {
          // A rollback of ours beside what was taken over.
          if (tries > 0 && this.#unsaved) await this.#save(before);
          return false;
        }
        this.#state = { ...changed, version: before.version + 1, writer: this.#writer };
        if (await this.#save(before)) return true;
      }
      return false;
    });
  }

  #enqueue<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(step);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  /**
   * @param before what holds of ours when somebody else's state is taken over
   * @returns false when the change must be made anew, or by nobody
   */
  async #save(before: RolloutState): Promise<boolean> {
    const { store, holder } = this.#options;
    try {
      const saved = this.#known && (await store.commit(holder, this.#state, this.#kept));
      if (!saved && !(await this.#saveAnew(before))) return false;
      this.#kept = this.#state.version;
      this.#unsaved = false;
      this.#problem = undefined;
    } catch (error) {
      this.#unsaved = true;
      this.#lacks(error);
    }
    return true;
  }

  /** The lease or the version was another one: an answer of ours was lost, or another replica took over. */
  async #saveAnew(before: RolloutState): Promise<boolean> {
    const { store, holder, leaseMs = LEASE_MS } = this.#options;
    if (!(await store.acquire(holder, leaseMs))) {
      await this.#giveUp();
      return false;
    }
    if (!(await this.#takeOver(before))) return false;
    if (!(await store.commit(holder, this.#state, this.#kept))) throw new Error('the lease ended meanwhile');
    return true;
  }

  async #renew(isLastTry = true): Promise<void> {
    const { store, holder, leaseMs = LEASE_MS } = this.#options;
    try {
      const mine = await store.acquire(holder, leaseMs);
      this.#answered = true;
      if (!mine) {
        await this.#giveUp();
        return;
      }
      if (!this.#acting || !this.#known || this.#missed) await this.#takeOver(this.#state);
      if (this.#unsaved) await this.#save(this.#state);
      else this.#problem = undefined;
    } catch (error) {
      this.#missed = true;
      this.#lacks(error);
      // Nobody can be asked. One that has just started acts as well, so that gateways hear of 0 %.
      if (isLastTry && !this.#answered) this.#act(true);
    }
  }

  /**
   * Reads what is kept. Ours goes on from it, or it takes the place of ours.
   * @returns whether ours holds
   */
  async #takeOver(ours: RolloutState): Promise<boolean> {
    const found = await this.#options.store.load();
    const [wasKnown, isOurs] = [this.#known, this.#known && (!found || this.#grewFrom(found))];
    this.#kept = found?.version ?? 0;
    [this.#known, this.#missed] = [true, false];
    if (!isOurs) this.#replace(found, ours);
    else if (this.#state.version !== this.#kept) {
      this.#state = { ...this.#state, version: Math.max(this.#state.version, this.#kept + 1) };
      this.#unsaved = true;
    }
    if (!this.#acting) this.#act(true);
    else if (!isOurs) this.#tookOver(wasKnown);
    return isOurs;
  }

  #replace(found: RolloutState | undefined, ours: RolloutState): void {
    const stored = found && { ...emptyState, ...found, counterfactual: { ...emptyState.counterfactual, ...found.counterfactual } };
    this.#read = found ?? emptyState;
    if (stored) this.#state = withEndOf(stored, ours);
    else this.#state = hasEnded(ours) ? ours : emptyState;
    this.#unsaved = this.#state !== stored && this.#state !== emptyState;
    if (this.#unsaved) this.#state = { ...this.#state, version: this.#kept + 1, writer: this.#writer };
  }

  /** Whether ours has everything that is in this one. */
  #grewFrom({ writer, version }: RolloutState): boolean {
    return writer === this.#writer || (writer === this.#read.writer && version <= this.#read.version);
  }

  /** Another replica acts. A rollback that it does not know of is told all the same. */
  async #giveUp(): Promise<void> {
    const { store } = this.#options;
    if (this.#acting && hasEnded(this.#state)) {
      const found = await store.load();
      const ended = found && withEndOf(found, this.#state);
      if (found && ended && ended !== found) await store.lower({ ...ended, version: found.version + 1, writer: this.#writer }, found.version);
    }
    this.#unsaved = false;
    this.#missed = false;
    this.#problem = undefined;
    this.#act(false);
  }

  #tookOver(wasKnown: boolean): void {
    const { version, phase, percentage } = this.#state;
    this.#options.logger.warn({ version, phase, percentage }, wasKnown ? 'another replica has changed the rollout, which is taken over' : 'the kept rollout was read');
    this.#options.onActing(true);
  }

  #act(acting: boolean): void {
    if (acting === this.#acting) return;
    this.#acting = acting;
    this.#options.logger.info({ holder: this.#options.holder, version: this.#state.version, phase: this.#state.phase, known: this.#known }, acting ? 'this replica acts' : 'another replica acts');
    this.#options.onActing(acting);
  }

  #lacks(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.#problem = `the store is not reachable (${why}); ${this.#known ? 'the rollout is not kept' : 'the kept rollout is not known, so the canary gets nothing'}`;
  }
}
