import { Priority } from '@mlx-serving/contracts';

/** One that waits. */
export interface Waiting {
  /** One of CLASSES. */
  readonly priority: Priority;
  readonly tenant: string;
  /** Tokens that it may cost, estimated; above 0. */
  readonly cost: number;
  /** Milliseconds, of the same clock for all. */
  readonly arrivedAt: number;
}

/** So much later than it came a request of a class counts as come: the most that a more urgent class may go before it. As in the worker. */
export const CLASS_DELAY_MS: Readonly<Record<number, number>> = {
  [Priority.INTERACTIVE]: 0,
  [Priority.NORMAL]: 2_000,
  [Priority.BATCH]: 10_000,
  [Priority.BACKGROUND]: 30_000,
};
/** Every so many turns the oldest goes, whoever's it is, so that no number of new tenants can starve an old request. */
export const OLDEST_EVERY = 8;

interface Line<T> {
  /** By arrival; the number is the virtual time at which the request may begin. */
  readonly waiting: Map<T, number>;
  /** Virtual time at which each tenant's last request ends. */
  readonly ends: Map<string, number>;
  virtual: number;
}

/**
 * Who is next: the class whose oldest has waited longest, its delay counted; within the class the tenant that has had
 * the least (start-time fair queueing); within the tenant the first. Knows no clock.
 */
export class FairQueue<T extends Waiting> {
  readonly #lines = new Map<Priority, Line<T>>();
  #turn = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The most urgent class that somebody waits in. */
  get mostUrgent(): Priority | undefined {
    // Asked at the end of each request, nearly always of an empty queue.
    if (this.#size === 0) return undefined;
    const classes = [...this.#lines].filter(([, { waiting }]) => waiting.size > 0).map(([priority]) => priority);
    return classes.length === 0 ? undefined : Math.min(...classes);
  }

  add(entry: T): void {
    const line = this.#line(entry.priority);
    const start = Math.max(line.virtual, line.ends.get(entry.tenant) ?? 0);
    line.waiting.set(entry, start);
    line.ends.set(entry.tenant, start + entry.cost);
    this.#size++;
  }

  /** Takes one out that gives up; what comes behind it of the same tenant moves up. */
  remove(entry: T): boolean {
    const line = this.#lines.get(entry.priority);
    const start = line?.waiting.get(entry);
    if (!line || start === undefined) return false;
    line.waiting.delete(entry);
    for (const [other, at] of line.waiting) if (other.tenant === entry.tenant && at > start) line.waiting.set(other, at - entry.cost);
    line.ends.set(entry.tenant, (line.ends.get(entry.tenant) ?? entry.cost) - entry.cost);
    this.#shrink(entry.priority, line);
    return true;
  }

  /** Takes out the next. */
  take(): T | undefined {
    const line = this.#next();
    if (!line) return undefined;
    const isTurnOfOldest = ++this.#turn % OLDEST_EVERY === 0;
    const entry = isTurnOfOldest ? oldestOf(line) : fairestOf(line);
    if (!entry) return undefined;
    line.virtual = Math.max(line.virtual, line.waiting.get(entry) ?? 0);
    line.waiting.delete(entry);
    this.#shrink(entry.priority, line);
    return entry;
  }

  /** How many will probably go before it. */
  position(entry: T): number {
    const score = scoreOf(entry);
    const own = this.#lines.get(entry.priority)?.waiting.get(entry) ?? 0;
    let before = 0;
    for (const [priority, { waiting }] of this.#lines) {
      let passed = false;
      for (const [other, start] of waiting) {
        if (other === entry) passed = true;
        else if (priority !== entry.priority) before += Number(scoreOf(other) < score);
        else before += Number(start < own || (start === own && !passed));
      }
    }
    return before;
  }

  /**
   * Whom a newcomer pushes out of a full queue: the last of a less urgent class; else, in its own class, the last of the
   * tenant that has the most there, when that is more than the newcomer's tenant would then have. Undefined: nobody.
   */
  victimOf(newcomer: T): T | undefined {
    const lowest = [...this.#lines].filter(([, { waiting }]) => waiting.size > 0).sort(([a], [b]) => b - a)[0];
    if (!lowest) return undefined;
    const [priority, { waiting }] = lowest;
    if (priority > newcomer.priority) return [...waiting.keys()].at(-1);
    if (priority < newcomer.priority) return undefined;
    const counts = new Map<string, number>();
    for (const { tenant } of waiting.keys()) counts.set(tenant, (counts.get(tenant) ?? 0) + 1);
    const [most, count] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    return count > (counts.get(newcomer.tenant) ?? 0) + 1 ? [...waiting.keys()].filter(({ tenant }) => tenant === most).at(-1) : undefined;
  }

  #line(priority: Priority): Line<T> {
    const line = this.#lines.get(priority) ?? { waiting: new Map(), ends: new Map(), virtual: 0 };
    this.#lines.set(priority, line);
    return line;
  }

  #next(): Line<T> | undefined {
    let best: { line: Line<T>; score: number } | undefined;
    for (const line of this.#lines.values()) {
      const oldest = oldestOf(line);
      if (oldest && (!best || scoreOf(oldest) < best.score)) best = { line, score: scoreOf(oldest) };
    }
    return best?.line;
  }

  /** What nobody waits for is forgotten, so that tenants that come and go leave nothing behind. */
  #shrink(priority: Priority, line: Line<T>): void {
    this.#size--;
    if (line.waiting.size === 0) this.#lines.delete(priority);
    else if (line.ends.size > 2 * line.waiting.size + 16) for (const [tenant, end] of line.ends) if (end <= line.virtual) line.ends.delete(tenant);
  }
}

function scoreOf({ arrivedAt, priority }: Waiting): number {
  return arrivedAt + (CLASS_DELAY_MS[priority] ?? 0);
}

function oldestOf<T>({ waiting }: Line<T>): T | undefined {
  return waiting.keys().next().value;
}

function fairestOf<T>({ waiting }: Line<T>): T | undefined {
  let best: [T, number] | undefined;
  for (const candidate of waiting) if (!best || candidate[1] < best[1]) best = candidate;
  return best?.[0];
}
