import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Lease, QosLinkResponse } from '@mlx-serving/contracts';
import type { RemediationLease } from '@mlx-serving/policy';
import { createQosMetrics } from '../metrics.ts';
import { directivesOf } from './directives.ts';
import { LeaseService } from './lease-service.ts';

const remediation = (actuator: string, value: number) => ({ actuator, value, policy: 'p', reason: 'slow' }) as RemediationLease;
const wanted = (baseLimit: number, ...leases: RemediationLease[]) => directivesOf({ baseLimit, leases });

function receiver(): { write(message: QosLinkResponse): void; leases: Lease[]; revoked: string[] } {
  const leases: Lease[] = [];
  const revoked: string[] = [];
  return { leases, revoked, write: ({ message }) => void (message.case === 'lease' ? leases.push(message.value) : message.case === 'revocation' && revoked.push(message.value.leaseId)) };
}

describe('LeaseService', () => {
  let service: LeaseService;
  beforeEach(() => {
    jest.useFakeTimers();
    service = new LeaseService(createQosMetrics());
    service.want(wanted(8), 3_000, 1);
  });
  afterEach(() => {
    service.stop();
    jest.useRealTimers();
  });

  it('lends the limit at once and renews the same lease at a third of its time', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    expect(gateway.leases).toMatchObject([{ ttlMs: 3_000, term: 1n, directive: { case: 'concurrencyLimit', value: 8 } }]);
    jest.advanceTimersByTime(3_000);
    expect(gateway.leases).toHaveLength(4);
    expect(new Set(gateway.leases.map((lease) => lease.id)).size).toBe(1);
  });

  it('lends what is remedied beside the limit, with its reason, and takes it back when it is over', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    service.want(wanted(8, remediation('shed', 0.3), remediation('circuit:w:1', 0.5), remediation('limit', 12)), 3_000, 1);
    expect(gateway.leases.slice(1).map(({ directive, reason }) => [directive.value, reason])).toMatchObject([
      [12, 'p: slow'],
      [{ share: 0.3 }, 'p: slow'],
      [{ workerId: 'w:1', halfOpen: true }, 'p: slow'],
    ]);
    service.want(wanted(8), 3_000, 1);
    expect(gateway.revoked).toEqual(gateway.leases.slice(2, 4).map(({ id }) => id));
    expect(gateway.leases.at(-1)?.directive.value).toBe(8);
  });

  it('lends a changed limit at once, as another lease, and says nothing when nothing changed', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    service.want(wanted(4), 3_000, 1);
    service.want(wanted(4), 3_000, 1);
    expect(gateway.leases.map((lease) => lease.directive.value)).toEqual([8, 4]);
    expect(gateway.leases[0]?.id).not.toBe(gateway.leases[1]?.id);
    expect(service.leases).toHaveLength(1);
  });

  it('renews at the new time after a reload', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    service.want(wanted(8), 300, 1);
    jest.advanceTimersByTime(300);
    expect(gateway.leases.map((lease) => lease.ttlMs)).toEqual([3_000, 300, 300, 300, 300]);
  });

  it('knows who has acknowledged, and takes only the lease of now', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    service.acknowledge('g', 'another');
    service.acknowledge('unknown', gateway.leases[0]?.id ?? '');
    expect(service.unacknowledged).toEqual(['g']);
    service.acknowledge('g', gateway.leases[0]?.id ?? '');
    expect(service.unacknowledged).toEqual([]);
    service.renew();
    expect(service.unacknowledged).toEqual([]);
    service.want(wanted(4), 3_000, 1);
    expect(service.unacknowledged).toEqual(['g']);
  });

  it('forgets a gateway whose link ended, unless it has linked again', () => {
    const [former, latter] = [receiver(), receiver()];
    service.lend('g', former);
    service.lend('g', latter);
    service.forget('g', former);
    expect(service.leases).toHaveLength(1);
    service.forget('g', latter);
    expect(service.leases).toEqual([]);
    jest.advanceTimersByTime(10_000);
    expect(latter.leases).toHaveLength(1);
  });
});
