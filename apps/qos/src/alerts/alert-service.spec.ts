import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AlertEffect, OpenAlert } from '@mlx-serving/policy';
import { createLogger, silentLogger } from '@mlx-serving/service-kit';
import { AlertStandIn, until } from '@mlx-serving/testing';
import fc from 'fast-check';
import { createQosMetrics } from '../metrics.ts';
import { AlertService, type AlertServiceOptions } from './alert-service.ts';

const alert: OpenAlert = { key: 'p/slow/pagerduty', channel: 'pagerduty', policy: 'p', slo: 'slow', severity: 'critical', summary: 'too slow', sinceMs: 1_000 };
const effect = (kind: AlertEffect['kind'], changed: Partial<OpenAlert> = {}): AlertEffect => ({ kind, alert: { ...alert, ...changed } });

describe('AlertService', () => {
  let receiver: AlertStandIn;
  let base: string;
  let pauses: number[];
  const services: AlertService[] = [];
  beforeEach(async () => {
    receiver = new AlertStandIn();
    base = await receiver.start();
    pauses = [];
  });
  afterEach(async () => {
    for (const service of services.splice(0)) await service.stop();
    await receiver.stop();
  });

  function serviceOf(options: Partial<AlertServiceOptions> = {}) {
    const metrics = createQosMetrics();
    const service = new AlertService({
      targets: () => ({ slackUrl: `${base}/slack`, pagerdutyUrl: `${base}/v2/enqueue`, pagerdutyKey: 'R'.repeat(32), webhookUrl: `${base}/webhook` }),
      metrics,
      logger: silentLogger,
      now: () => 2_000,
      pause: async (ms) => void pauses.push(ms),
      ...options,
    });
    services.push(service);
    const count = async (outcome: string): Promise<number> => (await metrics.alerts.get()).values.filter(({ labels }) => labels['outcome'] === outcome).reduce((sum, { value }) => sum + value, 0);
    return { service, count };
  }

  it('tries again when the receiver is busy or fails, no sooner than it asks for, and never when it refuses', async () => {
    const { service, count } = serviceOf();
    receiver.answers.push({ status: 429, retryAfter: 7 }, { status: 500 }, { status: 408 });
    service.send(effect('trigger'));
    await until(() => service.pending.length === 0);
    expect([receiver.received.length, pauses.length, pauses[0]]).toEqual([1, 3, 7_000]);
    receiver.answers.push({ status: 400 });
    service.send(effect('trigger', { key: 'another' }));
    await until(() => service.pending.length === 0);
    expect([pauses.length, await count('sent'), await count('failed')]).toEqual([3, 1, 1]);
  });

  it('gives up in the end, and tries again after the service was not there', async () => {
    const { service, count } = serviceOf({ send: () => Promise.reject(new TypeError('fetch failed')) });
    service.send(effect('trigger'));
    await until(() => service.pending.length === 0);
    expect([pauses.length, await count('failed')]).toEqual([19, 1]);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(60_000);
  });

  it('resolves after the alert itself, with the same key, however long that takes', async () => {
    const { service } = serviceOf();
    receiver.answers.push({ status: 503 }, { status: 503 });
    service.send(effect('trigger'));
    service.send(effect('resolve'));
    await until(() => service.pending.length === 0);
    const [trigger, resolve] = receiver.at('/v2/enqueue');
    expect([trigger?.['event_action'], resolve]).toEqual(['trigger', { routing_key: 'R'.repeat(32), event_action: 'resolve', dedup_key: trigger?.['dedup_key'] }]);
    expect([[...receiver.incidents.values()], receiver.problems]).toEqual([['resolved'], []]);
  });

  it('does not send twice what waits, and keeps it for after the end', async () => {
    const { service } = serviceOf({ pause: (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })) });
    receiver.answers.push({ status: 503 });
    service.send(effect('trigger'));
    service.send(effect('trigger'));
    await until(() => receiver.answers.length === 0);
    expect(service.pending).toEqual([effect('trigger')]);
    await service.stop();
    expect(service.pending).toEqual([effect('trigger')]);
    const { service: after } = serviceOf();
    for (const pending of service.pending) after.send(pending);
    await until(() => receiver.received.length === 1);
  });

  it('keeps a bounded number of alerts, and counts the others', async () => {
    const { service, count } = serviceOf({ send: () => new Promise(() => undefined) });
    for (let each = 0; each < 250; each++) service.send(effect('trigger', { key: `p/${each}/pagerduty` }));
    expect([service.pending.length, await count('dropped')]).toEqual([200, 50]);
    services.length = 0;
  });

  it('keeps to the forms of all receivers, whatever policies are called and say', async () => {
    const texts = fc.oneof(fc.string({ minLength: 1, unit: 'binary', maxLength: 400 }), fc.constantFrom('&', '<', '>').map((one) => one.repeat(5_000)), fc.constant('😀'.repeat(3_000)));
    const { service } = serviceOf();
    await fc.assert(
      fc.asyncProperty(texts, texts, texts, fc.constantFrom('trigger' as const, 'resolve' as const), async (policy, slo, summary, kind) => {
        for (const each of ['trigger', kind] as const) service.send(effect(each, { channel: 'all', key: `${policy}/${slo}`, policy, slo, summary }));
        await until(() => service.pending.length === 0);
        expect(receiver.problems).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it('writes no address and no key into the log', async () => {
    const lines: string[] = [];
    const logger = createLogger('qos', 'debug', { write: (line: string) => void lines.push(line) });
    const { service } = serviceOf({ logger, send: (url) => Promise.reject(new TypeError(`cannot reach ${url}`)) });
    for (const channel of ['slack', 'pagerduty', 'webhook']) service.send(effect('trigger', { channel }));
    await until(() => service.pending.length === 0);
    expect(lines.join('')).not.toMatch(/127\.0\.0\.1|RRRR/);
  });
});
