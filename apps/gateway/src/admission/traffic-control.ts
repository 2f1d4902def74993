import { type Lease, Priority, type StreamReport } from '@mlx-serving/contracts';
import type { GatewayMetrics } from '../metrics.ts';
import type { Governor } from './governor.ts';
import { LentValues } from './lent-values.ts';

/** The classes of requests, the most urgent first. */
export const CLASSES = [Priority.INTERACTIVE, Priority.NORMAL, Priority.BATCH, Priority.BACKGROUND] as const;

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
  readonly #circuits: LentValues<string, true>;
  #governor: Governor;

  constructor(governor: Governor, metrics: GatewayMetrics) {
    this.#governor = governor;
    this.#shed = new LentValues((priority, share) => metrics.shedShare.set({ priority: className(priority) }, share ?? 0));
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
    return this.#shed.get(priority) ?? 0;
  }

  /** Whether a controller keeps work away from a worker, `host:port`. */
  isForcedOpen(worker: string): boolean {
    return this.#circuits.get(worker) !== undefined;
  }

  /** @returns false for a directive that this gateway does not know, which must not be acknowledged */
  lend({ directive, ttlMs }: Lease): boolean {
    switch (directive.case) {
      case 'concurrencyLimit':
        this.#governor.lend({ limit: directive.value, ttlMs });
        return true;
      case 'shedLoad':
        return this.#lendShare(directive.value.priority, Math.min(1, Math.max(0, directive.value.share)), ttlMs);
      case 'openCircuit':
        return this.#circuits.lend(directive.value.workerId, true, ttlMs);
      default:
        return false;
    }
  }

  stop(): void {
    this.#governor.stop();
    this.#shed.stop();
    this.#circuits.stop();
  }

  #lendShare(priority: Priority, share: number, ttlMs: number): boolean {
    const classes = priority === Priority.UNSPECIFIED ? CLASSES : [priority];
    return classes.map((one) => this.#shed.lend(one, share, ttlMs)).every(Boolean);
  }
}
