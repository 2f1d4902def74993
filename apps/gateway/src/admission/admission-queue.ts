import { Priority } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { FairQueue, type Waiting } from './fair-queue.ts';

export interface AdmissionQueueOptions {
  /** Most requests that are admitted at one time, read at each step. */
  readonly limit: () => number;
  /** Most requests that wait, read at each step. */
  readonly maxQueued: () => number;
  /** Share of the limit that batch and background requests leave free for more urgent ones, read at each step. Default: 0. */
  readonly urgentShare?: () => number;
  /** Called after every change of the numbers. */
  readonly onChange?: (active: number, queued: number) => void;
  readonly now?: () => number;
}

/** What admission needs to know of a request. */
export interface Arrival {
  /** One of CLASSES. Default: NORMAL. */
  readonly priority?: Priority;
  /** Default: the one of those without a key. */
  readonly tenant?: string;
  /** Tokens that it may cost, estimated. Default: 1. */
  readonly cost?: number;
  /** Milliseconds that it has. Default: no end. */
  readonly deadlineMs?: number;
  /** Called once, when it has to wait. @param position how many are before it now */
  readonly onQueued?: (position: () => number) => void;
}

/** A place at the workers. */
export interface Seat {
  /** How many were before it when it came; 0 also when it did not wait. */
  readonly position: number;
  readonly queuedMs: number;
  /** Gives the place back; calling it again does nothing. */
  readonly release: () => void;
}

interface Entry extends Waiting {
  /** When it must have ended, of the queue's clock. */
  readonly deadlineAt: number;
  readonly admit: () => void;
  readonly refuse: (error: Error) => void;
}

/** Share of the newest request in the moving average of how long a place is held. */
const SMOOTHING = 0.1;
const LONGEST_RETRY_MS = 60_000;
const SHORTEST_RETRY_MS = 1_000;
/**
 * How much longer one may wait than it seems when it comes: more urgent ones go before it, and places are held for longer and shorter.
 * Under overload everybody waits nearly as long as is let in here; with less, a quarter of the refusals came late (measured).
 */
const WAIT_MARGIN = 2;
/** Until so many places were given back, how long one is held is not known well enough to refuse anyone for it. */
const LEAST_SAMPLES = 5;

/** The bounded queue before the workers: classes with ageing, fair between tenants. What cannot be served in time is refused at once. */
export class AdmissionQueue {
  readonly #options: AdmissionQueueOptions;
  readonly #now: () => number;
  readonly #queue = new FairQueue<Entry>();
  #active = 0;
  #averageHoldMs = 1_000;
  #averageCost = 1;
  #samples = 0;

  constructor(options: AdmissionQueueOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get active(): number {
    return this.#active;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /**
   * Waits for a place. A signal that aborts while it waits frees its seat in the queue at once.
   * @throws QUEUE_FULL or DEADLINE_UNREACHABLE with the time to retry after, or the signal's reason
   */
  async acquire(signal: AbortSignal, arrival: Arrival = {}): Promise<Seat> {
    signal.throwIfAborted();
    const arrivedAt = this.#now();
    const { priority = Priority.NORMAL, cost = 1 } = arrival;
    let position = 0;
    if (this.#queue.size > 0 || !this.#hasPlaceFor(priority)) {
      const onQueued = (before: () => number): void => {
        position = before();
        arrival.onQueued?.(before);
      };
      await this.#wait(signal, { ...arrival, onQueued }, arrivedAt);
    } else this.#active++;
    this.#changed();
    const admittedAt = this.#now();
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      this.#active--;
      this.#learn(this.#now() - admittedAt, cost);
      this.admitWaiting();
    };
    return { position, queuedMs: admittedAt - arrivedAt, release };
  }

  /** Admits whoever waits as far as the limit allows. Call it when the limit has changed. */
  admitWaiting(): void {
    while (this.#hasPlaceFor(this.#queue.mostUrgent)) {
      const next = this.#queue.take();
      if (!next) break;
      // Whom others have overtaken for too long would only take a place from those who can still be served.
      const neededMs = this.#holdMs(next.cost);
      const leftMs = next.deadlineAt - this.#now();
      if (this.#samples >= LEAST_SAMPLES && leftMs < neededMs) {
        next.refuse(unreachable(neededMs, leftMs));
        continue;
      }
      this.#active++;
      next.admit();
    }
    this.#changed();
  }

  #hasPlaceFor(priority: Priority | undefined): boolean {
    return priority !== undefined && this.#active < this.placesFor(priority);
  }

  /** The most that may be at the workers when one of this class comes. The last places are kept for urgent requests; once one of these waits, whose turn it is is as the queue says. */
  placesFor(priority: Priority): number {
    const limit = this.#options.limit();
    if (priority <= Priority.NORMAL) return limit;
    return Math.max(1, limit - Math.floor(limit * (this.#options.urgentShare?.() ?? 0)));
  }

  /** When a place should be free for one more, from how long places were held of late. */
  get retryAfterMs(): number {
    return Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, this.#expectedMs(this.#queue.size, Priority.NORMAL)));
  }

  /** How long one waits who has so many before him. */
  #expectedMs(before: number, priority: Priority): number {
    return ((before + 1) * this.#averageHoldMs) / this.placesFor(priority);
  }

  /** How long a request of such a cost holds its place, as it seems: one that asks for little is not judged by those that ask for much. */
  #holdMs(cost: number): number {
    return this.#averageHoldMs * Math.min(1, cost / this.#averageCost);
  }

  #learn(heldMs: number, cost: number): void {
    this.#averageCost = this.#samples === 0 ? cost : this.#averageCost + SMOOTHING * (cost - this.#averageCost);
    this.#samples++;
    this.#averageHoldMs += SMOOTHING * (heldMs - this.#averageHoldMs);
  }

  #wait(signal: AbortSignal, { priority = Priority.NORMAL, tenant = '', cost = 1, deadlineMs = Number.POSITIVE_INFINITY, onQueued }: Arrival, arrivedAt: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#queue.remove(entry);
        this.#changed();
        reject(signal.reason as Error);
      };
      const stay = (act: () => void) => () => {
        signal.removeEventListener('abort', leave);
        act();
      };
      const entry: Entry = { priority, tenant, cost: Math.max(1, cost), arrivedAt, deadlineAt: arrivedAt + deadlineMs, admit: stay(resolve), refuse: (error) => stay(() => reject(error))() };
      const victim = this.#victimOf(entry);
      this.#queue.add(entry);
      const position = this.#queue.position(entry);
      const expectedMs = WAIT_MARGIN * this.#expectedMs(position, priority) + this.#holdMs(entry.cost);
      if (this.#samples >= LEAST_SAMPLES && expectedMs > deadlineMs) {
        this.#queue.remove(entry);
        throw unreachable(expectedMs, deadlineMs);
      }
      // Nobody has to go for one who is refused himself.
      if (victim) this.#pushOut(victim);
      signal.addEventListener('abort', leave, { once: true });
      onQueued?.(() => this.#queue.position(entry));
      // One of the places that are kept for urgent requests may be free.
      this.admitWaiting();
    });
  }

  /** Who has to go for a newcomer; undefined while there is room. @throws QUEUE_FULL when it is the newcomer himself */
  #victimOf(newcomer: Entry): Entry | undefined {
    const { maxQueued } = this.#options;
    if (this.#queue.size < maxQueued()) return undefined;
    const victim = maxQueued() > 0 ? this.#queue.victimOf(newcomer) : undefined;
    if (!victim) throw this.#full();
    return victim;
  }

  #pushOut(victim: Entry): void {
    this.#queue.remove(victim);
    victim.refuse(this.#full());
  }

  #full(): Error {
    const { retryAfterMs } = this;
    return errors.QUEUE_FULL({ seconds: Math.ceil(retryAfterMs / 1_000), queued: this.#queue.size }, { retryAfterMs });
  }

  #changed(): void {
    this.#options.onChange?.(this.#active, this.#queue.size);
  }
}

function unreachable(expectedMs: number, deadlineMs: number): Error {
  const retryAfterMs = Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, expectedMs));
  return errors.DEADLINE_UNREACHABLE({ seconds: Math.ceil(expectedMs / 1_000), deadline: Math.round(deadlineMs) }, { retryAfterMs });
}
