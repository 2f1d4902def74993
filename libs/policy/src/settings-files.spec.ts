import { describe, expect, it } from '@jest/globals';
import { canaryFile } from './canary-file.ts';
import { failure, requestLimits, runtimeFile } from './runtime-file.ts';
import { slo } from './slo/slo-policy.ts';

const canary = { enabled: true, rolloutPercentage: 1, strategy: 'hash', hashKey: 'user_id', enableCache: true, cacheSize: 10 };
const rollback = { enabled: true, cooldownMs: 0, gradual: false, triggers: [{ name: 'crash_rate', threshold: 0.001, severity: 'critical' }] };
const monitoring = { enabled: true, intervalMs: 5000, retentionHours: 1 };

const issues = (schema: { safeParse(value: unknown): { error?: { issues: { path: PropertyKey[] }[] } | undefined } }, value: unknown): string[] =>
  (schema.safeParse(value).error?.issues ?? []).map((issue) => issue.path.join('.'));

describe('canaryFile', () => {
  it('hashes by a seed of its own unless the file names one', () => {
    expect(canaryFile.parse({ canary, rollback, monitoring }).canary.hashSeed).toBe('canary');
  });

  it.each([
    ['canary.rolloutPercentage', { canary: { ...canary, rolloutPercentage: 101 }, rollback, monitoring }],
    ['canary.hashKey', { canary: { ...canary, hashKey: 'IP' }, rollback, monitoring }],
    ['canary.cacheSize', { canary: { ...canary, cacheSize: 2_000_000 }, rollback, monitoring }],
    ['rollback.triggers.0.name', { canary, rollback: { ...rollback, triggers: [{ name: 'gut', threshold: 1, severity: 'critical' }] }, monitoring }],
    ['monitoring.intervalMs', { canary, rollback, monitoring: { ...monitoring, intervalMs: 1 } }],
    ['rollback', { canary, monitoring }],
    ['', { canary, rollback, monitoring, cannary: {} }],
  ])('refuses a mistake at %p', (path, value) => {
    expect(issues(canaryFile, value)).toEqual([path]);
  });
});

describe('runtimeFile', () => {
  it('names every part that is missing at once', () => {
    expect(issues(runtimeFile, {})).toEqual(['ttft_accelerator', 'qos_monitor', 'governor', 'requests']);
  });

  it('takes no time that a timer cannot hold, which would be over at once', () => {
    const requests = { timeout_ms: 24 * 3_600_000, max_body_bytes: 1024, max_messages: 1 };
    expect(issues(requestLimits, requests)).toEqual([]);
    expect(issues(requestLimits, { ...requests, timeout_ms: 2 ** 31, write_stall_timeout_ms: 1e12 })).toEqual(['timeout_ms', 'write_stall_timeout_ms']);
    expect(issues(failure, { drain_grace_ms: 2 ** 31 })).toEqual(['drain_grace_ms']);
  });

  it('takes a percentile of 1 to 99.9 and severities that it knows', () => {
    const valid = { name: 'ttft_p95', metric: 'ttft', threshold: 550, window_ms: 60_000, severity: 'critical' };
    expect(issues(slo, valid)).toEqual([]);
    expect(issues(slo, { ...valid, percentile: 100 })).toEqual(['percentile']);
    expect(issues(slo, { ...valid, severity: 'fatal', metric: 'ttfb', window_ms: 0 })).toEqual(['metric', 'window_ms', 'severity']);
  });
});
