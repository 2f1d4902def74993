import type { CanaryComparison, RoutingTable } from '@mlx-serving/contracts';
import { RoutingPlaces } from './routing-places.ts';

/**
 * The routing table and the comparison that came down the canary link last. A table with a lease holds while the canary
 * service is heard: without it nobody would take a bad canary back, so everything goes to the baseline (SPEC C2).
 */
export class RoutingStore {
  readonly places = new RoutingPlaces();
  comparison: CanaryComparison | undefined;
  /** Called with each table that comes into force. */
  onTable: (table: RoutingTable) => void = () => undefined;
  readonly #now: () => number;
  #table: RoutingTable | undefined;
  #heardAt = 0;

  /** @param now the clock in milliseconds, which never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get table(): RoutingTable | undefined {
    return this.#table;
  }

  set table(table: RoutingTable | undefined) {
    this.#table = table;
    this.heard();
    if (!table) return;
    this.places.configure(table.hashSeed, table.strategy === 'hash' ? table.cacheSize : 0);
    this.onTable(table);
  }

  /** The canary service is there: the lease begins anew. */
  heard(): void {
    this.#heardAt = this.#now();
  }

  get leaseEnded(): boolean {
    const leaseMs = this.#table?.leaseMs ?? 0;
    return leaseMs > 0 && this.#now() - this.#heardAt > leaseMs;
  }

  /** The share that is in force now, 0 to 100. */
  get percentage(): number {
    return this.#table?.enabled && !this.leaseEnded ? this.#table.rolloutPercentage : 0;
  }
}
