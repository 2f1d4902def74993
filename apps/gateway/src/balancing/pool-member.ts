import type { ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { CircuitBreaker, type CircuitSettings, type CircuitState } from '../failure/circuit-breaker.ts';
import type { WorkerConnection } from '../workers/worker-connection.ts';

/** What a member needs to know of its settings and surroundings, read at each use. */
export interface MemberSettings extends CircuitSettings {
  readonly probe_interval_ms: number;
  /** So many probes in a row without an answer take a worker for stuck. */
  readonly missed_probes: number;
}

export interface MemberOptions {
  readonly worker: WorkerConnection;
  readonly settings: () => MemberSettings;
  /** Whether a controller keeps work away from it. */
  readonly isForcedOpen: (worker: string, outstanding: number) => boolean;
  /** Something about its availability may have changed. @param event what happened, for the log */
  readonly onEvent: (member: PoolMember, event: string) => void;
}

/** A place of one request at a worker. */
export interface Attempt {
  readonly member: PoolMember;
  readonly worker: WorkerConnection;
  /** Called when the worker is found to be stuck. Whoever runs the request there puts itself in. */
  onStuck: (error: ServiceError) => void;
  /** Must be called once. @param failure what the worker is to blame for; null when it tells nothing of the worker */
  done(failure?: ServiceError | null): void;
}

/** One worker of a pool: its circuit, what it has to do, and whether it answers. */
export class PoolMember {
  readonly worker: WorkerConnection;
  readonly #options: MemberOptions;
  readonly #breaker: CircuitBreaker;
  readonly #running = new Set<Attempt>();
  #load = 0;
  #retired = false;
  #missed = 0;
  #probe: NodeJS.Timeout | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.worker = options.worker;
    this.#breaker = new CircuitBreaker(options.settings);
  }

  get load(): number {
    return this.#load;
  }

  /** `stuck` while it does not answer though its connection stands. */
  get state(): CircuitState | 'forced-open' | 'stuck' | 'away' {
    if (!this.worker.serving) return 'away';
    if (this.stuck) return 'stuck';
    return this.#options.isForcedOpen(this.worker.address, this.#running.size) ? 'forced-open' : this.#breaker.state;
  }

  get stuck(): boolean {
    return this.#missed >= this.#options.settings().missed_probes;
  }

  /** Whether it takes requests at all. */
  get serving(): boolean {
    return this.worker.serving && !this.stuck;
  }

  /** Whether it should be given a request now. */
  get available(): boolean {
    return this.serving && this.#breaker.allows && !this.#options.isForcedOpen(this.worker.address, this.#running.size);
  }

  start(): void {
    this.worker.start();
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#probe);
    this.#probe = undefined;
    this.worker.stop();
  }

  /** Stops when what runs is over. */
  retire(): void {
    this.#retired = true;
    if (this.#running.size === 0) this.stop();
  }

  /** Takes a place for a request of so many tokens. */
  begin(cost: number): Attempt {
    const attempt: Attempt = {
      member: this,
      worker: this.worker,
      onStuck: () => undefined,
      done: (failure) => {
        if (!this.#running.delete(attempt)) return;
        this.#load -= cost;
        if (this.#retired && this.#running.size === 0) this.stop();
        this.#judge(failure);
      },
    };
    this.#running.add(attempt);
    this.#load += cost;
    this.#breaker.begin();
    return attempt;
  }

  #judge(failure: ServiceError | null | undefined): void {
    const before = this.#breaker.state;
    if (failure) this.#breaker.failed();
    else if (failure === null) this.#breaker.abandoned();
    else this.#breaker.succeeded();
    if (this.#breaker.state !== before) this.#options.onEvent(this, `circuit ${this.#breaker.state}`);
  }

  #schedule(): void {
    this.#probe = setTimeout(() => void this.#check(), this.#options.settings().probe_interval_ms).unref();
  }

  /** A worker whose connection stands may still be stuck: it must answer a call from time to time. */
  async #check(): Promise<void> {
    const wasStuck = this.stuck;
    if (!this.worker.serving) this.#missed = 0;
    else if (await this.worker.answers()) this.#missed = 0;
    else if (this.worker.serving) this.#missed++;
    if (this.#probe === undefined) return;
    this.#schedule();
    if (this.stuck === wasStuck) return;
    if (this.stuck) for (const running of [...this.#running]) running.onStuck(errors.WORKER_LOST());
    this.#options.onEvent(this, this.stuck ? 'it does not answer' : 'it answers again');
  }
}
