import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Lease, LeaseSchema, type QosLinkResponse, QosLinkResponseSchema } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import type { QosMetrics } from '../metrics.ts';

export type Governor = RuntimeFile['governor'];

/** Where a lease is written to: the link of one gateway. */
export interface LeaseReceiver {
  write(message: QosLinkResponse): unknown;
}

interface Lent {
  readonly receiver: LeaseReceiver;
  readonly lease: Lease;
  acknowledged: boolean;
}

/**
 * Lends every linked gateway its concurrency limit, and renews it at a third of its time, so that a gateway that
 * loses this service returns to its own setting after `governor.lease_ttl_ms` (SPEC Q3).
 */
export class LeaseService {
  readonly #metrics: QosMetrics;
  readonly #lent = new Map<string, Lent>();
  #governor: Governor;
  #timer: NodeJS.Timeout | undefined;

  constructor(metrics: QosMetrics, governor: Governor) {
    this.#metrics = metrics;
    this.#governor = governor;
  }

  /** Starts, or goes on with other bounds: every gateway hears of them at once. */
  configure(governor: Governor): void {
    this.stop();
    this.#governor = governor;
    for (const [replicaId, { receiver }] of this.#lent) this.lend(replicaId, receiver);
    this.#timer = setInterval(() => this.renew(), Math.max(governor.lease_ttl_ms / 3, 1));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Lends the limit of now. A gateway that already has it keeps its lease's id. */
  lend(replicaId: string, receiver: LeaseReceiver): void {
    const former = this.#lent.get(replicaId);
    const unchanged =
      former?.receiver === receiver &&
      former.lease.directive.value === this.#governor.max_concurrent_streams &&
      former.lease.ttlMs === this.#governor.lease_ttl_ms;
    const lent = unchanged ? former : { receiver, lease: this.#lease(), acknowledged: false };
    this.#lent.set(replicaId, lent);
    receiver.write(create(QosLinkResponseSchema, { message: { case: 'lease', value: lent.lease } }));
    this.#count();
  }

  renew(): void {
    for (const [replicaId, { receiver }] of this.#lent) this.lend(replicaId, receiver);
  }

  /** Forgets the lease of a link that ended; the gateway's own clock ends it there. */
  forget(replicaId: string, receiver: LeaseReceiver): void {
    if (this.#lent.get(replicaId)?.receiver === receiver) this.#lent.delete(replicaId);
    this.#count();
  }

  acknowledge(replicaId: string, leaseId: string): void {
    const lent = this.#lent.get(replicaId);
    if (lent?.lease.id === leaseId) lent.acknowledged = true;
    this.#count();
  }

  get leases(): Lease[] {
    return [...this.#lent.values()].map(({ lease }) => lease);
  }

  /** Gateways that have a lease and have not said that they hold to it. */
  get unacknowledged(): string[] {
    return [...this.#lent].filter(([, { acknowledged }]) => !acknowledged).map(([replicaId]) => replicaId);
  }

  #lease(): Lease {
    return create(LeaseSchema, {
      id: randomUUID(),
      ttlMs: this.#governor.lease_ttl_ms,
      reason: 'governor.max_concurrent_streams',
      directive: { case: 'concurrencyLimit', value: this.#governor.max_concurrent_streams },
    });
  }

  #count(): void {
    const pending = this.unacknowledged.length;
    this.#metrics.leases.set({ acknowledged: 'false' }, pending);
    this.#metrics.leases.set({ acknowledged: 'true' }, this.#lent.size - pending);
  }
}
