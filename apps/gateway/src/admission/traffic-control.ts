import { type Lease, Priority, type StreamReport } from '@mlx-serving/contracts';
import type { GatewayMetrics } from '../metrics.ts';
import { ClassMix, shedByClass } from '../governor/class-mix.ts';
import type { Governor } from './governor.ts';
import { LentValues } from './lent-values.ts';

/** The classes of requests, the most urgent first. */
export const CLASSES = [Priority.INTERACTIVE, Priority.NORMAL, Priority.BATCH, Priority.BACKGROUND] as const;

/** Most leases that can be taken back by their id. */
const MOST_LEASES = 1_000;

/** A request's class: one of CLASSES. */
export function classOf(priority: Priority | undefined): Priority {
  return priority === undefined || priority === Priority.UNSPECIFIED ? Priority.NORMAL : priority;
}

export function className(priority: Priority): string {
  return (Priority[priority] ?? '').toLowerCase();
}

/** Everything that a controller may turn in this gateway. Whatever is lent ends by itself (SPEC Q3). */
export class TrafficControl {
  readonly #shed: LentValues<Priority, number>;
  readonly #sheddingAll: LentValues<'all', number>;
  readonly #circuits: LentValues<string, 'open' | 'half_open'>;
  readonly #mix = new ClassMix(CLASSES.length);
  /** How to take each lease back, by its id. */
  readonly #undo = new Map<string, () => void>();
  readonly #draw: () => number;
  #term = 0n;
  #governor: Governor;

  /** @param draw 0 to 1, for what is shed by chance */
  constructor(governor: Governor, metrics: GatewayMetrics, draw: () => number = Math.random) {
    this.#draw = draw;
    this.#governor = governor;
    this.#shed = new LentValues(() => this.#showShares(metrics));
    this.#sheddingAll = new LentValues(() => this.#showShares(metrics));
    this.#circuits = new LentValues((worker, open) => metrics.forcedCircuits.set({ worker }, open ? 1 : 0));
  }

  /** Most requests at the workers at one time. */
  limit(): number {
    return this.#governor.limit();
  }

  configure(setting: number): void {
    this.#governor.configure(setting);
  }

  /** Puts another governor in the place of the present one, which is not stopped. @returns the one that was there */
  use(governor: Governor): Governor {
    const before = this.#governor;
    this.#governor = governor;
    return before;
  }

  onSample(report: StreamReport): void {
    this.#governor.onSample(report);
  }

  /** Share of the new requests of a class to refuse, 0 to 1. */
  shedShare(priority: Priority): number {
    const place = CLASSES.indexOf(priority as (typeof CLASSES)[number]);
    const ofAll = shedByClass(this.#sheddingAll.get('all') ?? 0, this.#mix.shares)[place] ?? 0;
    return Math.max(ofAll, this.#shed.get(priority) ?? 0);
  }

  /** A request of a class has arrived. @returns whether a controller has it refused at once */
  sheds(priority: Priority): boolean {
    this.#mix.arrived(CLASSES.indexOf(priority as (typeof CLASSES)[number]));
    const share = this.shedShare(priority);
    return share > 0 && this.#draw() < share;
  }

  /**
   * Whether a controller keeps work away from a worker, `host:port`. While its circuit is half open it gets one request at a time.
   * @param outstanding requests that it has now
   */
  isForcedOpen(worker: string, outstanding = 0): boolean {
    const circuit = this.#circuits.get(worker);
    return circuit === 'open' || (circuit === 'half_open' && outstanding > 0);
  }

  /** @returns false for a directive that this gateway does not know, which must not be acknowledged */
  lend(lease: Lease): boolean {
    if (lease.term > 0n && lease.term < this.#term) return false;
    if (lease.term > this.#term) this.#term = lease.term;
    return this.#take(lease);
  }

  /** Ends a lease before its time. One that is not known changes nothing. */
  revoke(leaseId: string): void {
    this.#undo.get(leaseId)?.();
    this.#undo.delete(leaseId);
  }

  #take({ id, directive, ttlMs }: Lease): boolean {
    switch (directive.case) {
      case 'concurrencyLimit':
        this.#governor.lend({ limit: directive.value, ttlMs });
        return true;
      case 'shedLoad':
        return this.#lendShare(id, directive.value.priority, Math.min(1, Math.max(0, directive.value.share)), ttlMs);
      case 'openCircuit':
        this.#remember(id, () => this.#circuits.end(directive.value.workerId));
        return this.#circuits.lend(directive.value.workerId, directive.value.halfOpen ? 'half_open' : 'open', ttlMs);
      default:
        return false;
    }
  }

  stop(): void {
    this.#governor.stop();
    this.#shed.stop();
    this.#sheddingAll.stop();
    this.#circuits.stop();
  }

  /** Of every class: a share of all requests, the least urgent first. */
  #lendShare(id: string, priority: Priority, share: number, ttlMs: number): boolean {
    if (priority === Priority.UNSPECIFIED) {
      this.#remember(id, () => this.#sheddingAll.end('all'));
      return this.#sheddingAll.lend('all', share, ttlMs);
    }
    this.#remember(id, () => this.#shed.end(priority));
    return this.#shed.lend(priority, share, ttlMs);
  }

  #remember(id: string, undo: () => void): void {
    this.#undo.delete(id);
    this.#undo.set(id, undo);
    if (this.#undo.size > MOST_LEASES) this.#undo.delete(this.#undo.keys().next().value as string);
  }

  #showShares(metrics: GatewayMetrics): void {
    for (const priority of CLASSES) metrics.shedShare.set({ priority: className(priority) }, this.shedShare(priority));
  }
}
