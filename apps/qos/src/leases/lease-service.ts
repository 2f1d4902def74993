import { randomUUID } from 'node:crypto';
import { create, equals } from '@bufbuild/protobuf';
import { type Lease, LeaseSchema, type QosLinkResponse, QosLinkResponseSchema } from '@mlx-serving/contracts';
import type { QosMetrics } from '../metrics.ts';
import type { WantedDirective } from './directives.ts';

/** Where a lease is written to: the link of one gateway. */
export interface LeaseReceiver {
  write(message: QosLinkResponse): unknown;
}

interface Lent {
  readonly lease: Lease;
  acknowledged: boolean;
}

interface Gateway {
  readonly receiver: LeaseReceiver;
  readonly lent: Map<string, Lent>;
}

/**
 * Lends every linked gateway what is in force, and renews it at a third of its time, so that a gateway that
 * loses this service returns to its own settings after `governor.lease_ttl_ms` (SPEC Q3).
 */
export class LeaseService {
  readonly #metrics: QosMetrics;
  readonly #gateways = new Map<string, Gateway>();
  #wanted: ReadonlyMap<string, WantedDirective> = new Map();
  #ttlMs = 1_000;
  #term = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(metrics: QosMetrics) {
    this.#metrics = metrics;
  }

  /** From now on this is in force: every gateway hears at once of what has changed, and of what is over. */
  want(wanted: ReadonlyMap<string, WantedDirective>, ttlMs: number, term: number): void {
    this.#wanted = wanted;
    this.#term = term;
    for (const gateway of this.#gateways.values()) this.#bringUpToDate(gateway, false);
    if (this.#timer === undefined || ttlMs !== this.#ttlMs) {
      clearInterval(this.#timer);
      this.#timer = setInterval(() => this.renew(), Math.max(ttlMs / 3, 1));
      this.#ttlMs = ttlMs;
      this.renew();
    }
    this.#count();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Lends to a gateway that has linked. */
  lend(replicaId: string, receiver: LeaseReceiver): void {
    const gateway = { receiver, lent: new Map<string, Lent>() };
    this.#gateways.set(replicaId, gateway);
    this.#bringUpToDate(gateway, true);
    this.#count();
  }

  renew(): void {
    for (const gateway of this.#gateways.values()) this.#bringUpToDate(gateway, true);
    this.#count();
  }

  /** Forgets the leases of a link that ended; the gateway's own clock ends them there. */
  forget(replicaId: string, receiver: LeaseReceiver): void {
    if (this.#gateways.get(replicaId)?.receiver === receiver) this.#gateways.delete(replicaId);
    this.#count();
  }

  acknowledge(replicaId: string, leaseId: string): void {
    for (const lent of this.#gateways.get(replicaId)?.lent.values() ?? []) if (lent.lease.id === leaseId) lent.acknowledged = true;
    this.#count();
  }

  get leases(): Lease[] {
    return [...this.#gateways.values()].flatMap(({ lent }) => [...lent.values()].map(({ lease }) => lease));
  }

  /** Gateways that have a lease and have not said that they hold to it. */
  get unacknowledged(): string[] {
    return [...this.#gateways].filter(([, { lent }]) => [...lent.values()].some(({ acknowledged }) => !acknowledged)).map(([replicaId]) => replicaId);
  }

  /** @param all whether what has not changed is renewed too */
  #bringUpToDate({ receiver, lent }: Gateway, all: boolean): void {
    for (const [key, { lease }] of lent) {
      if (this.#wanted.has(key)) continue;
      lent.delete(key);
      receiver.write(create(QosLinkResponseSchema, { message: { case: 'revocation', value: { leaseId: lease.id } } }));
    }
    for (const [key, wanted] of this.#wanted) {
      const former = lent.get(key);
      const lease = this.#leaseOf(wanted, former?.lease.id ?? randomUUID());
      const unchanged = former !== undefined && equals(LeaseSchema, former.lease, lease);
      if (unchanged && !all) continue;
      const next = unchanged ? former : { lease: former ? this.#leaseOf(wanted, randomUUID()) : lease, acknowledged: false };
      lent.set(key, next);
      receiver.write(create(QosLinkResponseSchema, { message: { case: 'lease', value: next.lease } }));
    }
  }

  #leaseOf({ directive, reason }: WantedDirective, id: string): Lease {
    return create(LeaseSchema, { id, ttlMs: this.#ttlMs, reason, directive, term: BigInt(this.#term) });
  }

  #count(): void {
    const pending = [...this.#gateways.values()].flatMap(({ lent }) => [...lent.values()]).filter(({ acknowledged }) => !acknowledged).length;
    this.#metrics.leases.set({ acknowledged: 'false' }, pending);
    this.#metrics.leases.set({ acknowledged: 'true' }, this.leases.length - pending);
  }
}
