import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Lease, QosLinkResponse } from '@mlx-serving/contracts';
import { createQosMetrics } from '../metrics.ts';
import { LeaseService } from './lease-service.ts';

const governor = { max_concurrent_streams: 8, max_queued_requests: 10, lease_ttl_ms: 3_000 };

function receiver(): { write(message: QosLinkResponse): void; leases: Lease[] } {
  const leases: Lease[] = [];
  return { leases, write: ({ message }) => message.case === 'lease' && leases.push(message.value) };
}

describe('LeaseService', () => {
  let service: LeaseService;
  beforeEach(() => {
    jest.useFakeTimers();
    service = new LeaseService(createQosMetrics(), governor);
    service.configure(governor);
  });
  afterEach(() => {
    service.stop();
    jest.useRealTimers();
  });

  it('lends the limit at once and renews the same lease at a third of its time', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    expect(gateway.leases).toMatchObject([{ ttlMs: 3_000, directive: { case: 'concurrencyLimit', value: 8 } }]);
    jest.advanceTimersByTime(3_000);
    expect(gateway.leases).toHaveLength(4);
    expect(new Set(gateway.leases.map((lease) => lease.id)).size).toBe(1);
  });

  it('lends a changed limit at once, as another lease', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    service.configure({ ...governor, max_concurrent_streams: 4 });
    expect(gateway.leases.map((lease) => lease.directive.value)).toEqual([8, 4]);
    expect(gateway.leases[0]?.id).not.toBe(gateway.leases[1]?.id);
    expect(service.leases).toHaveLength(1);
  });

  it('renews at the new time after a reload', () => {
    const gateway = receiver();
    service.lend('g', gateway);
    service.configure({ ...governor, lease_ttl_ms: 300 });
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
    service.configure({ ...governor, max_concurrent_streams: 4 });
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
