import { describe, expect, it } from '@jest/globals';
import { BaselineSample, canaryFile, Evidence } from '@mlx-serving/policy';
import { verdictOf, type WorkerFacts } from './verdict.ts';

const { rollback } = canaryFile.parse({
  canary: { enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'request_id', enableCache: true, cacheSize: 10 },
  rollback: {
    enabled: true,
    cooldownMs: 0,
    gradual: false,
    triggers: [
      { name: 'memory_leak', threshold: 50, severity: 'warning' },
      { name: 'crash_rate', threshold: 0.001, severity: 'critical' },
    ],
  },
  monitoring: { enabled: true, intervalMs: 100, retentionHours: 1 },
});
const HOUR_MS = 3_600_000;
const well: WorkerFacts = { gone: false, slopes: [] };

function fired({ exits = 0, exitAtMs = 0, requestsBefore = 0, requests = 0, workers = well }: { exits?: number; exitAtMs?: number; requestsBefore?: number; requests?: number; workers?: WorkerFacts }): string[] {
  const evidence = new Evidence(0.5, new BaselineSample());
  for (let index = 0; index < requests; index++) evidence.observe({ canary: true, failed: false, values: [] });
  const atMs = Array.from({ length: exits }, (_, index) => exitAtMs - index * HOUR_MS);
  return verdictOf(evidence, { exits: { count: exits, atMs }, requestsBefore }, rollback, workers, 0).fired.map(({ name }) => name);
}

describe('verdictOf', () => {
  it('fires for exits that are surely more than one in a thousand requests', () => {
    expect(fired({ exits: 1, exitAtMs: -HOUR_MS, requests: 100 })).toEqual([]);
    expect(fired({ exits: 5, exitAtMs: -HOUR_MS, requests: 200 })).toEqual(['crash_rate']);
  });

  it('counts the requests of earlier stages as well: a stage that has just begun blames nobody for exits of long ago', () => {
    expect(fired({ exits: 5, exitAtMs: -HOUR_MS, requests: 1, requestsBefore: 6_000 })).toEqual([]);
    expect(fired({ exits: 5, exitAtMs: -HOUR_MS, requests: 1 })).toEqual(['crash_rate']);
  });

  it('needs no test for three exits in ten minutes, nor for workers that are gone', () => {
    const evidence = new Evidence(0.5, new BaselineSample());
    const names = (exits: number[], workers: WorkerFacts = well) => verdictOf(evidence, { exits: { count: exits.length, atMs: exits }, requestsBefore: 1_000_000 }, rollback, workers, 600_000).fired;
    expect(names([1, 2])).toEqual([]);
    expect(names([1, 2, 3])).toEqual([{ name: 'worker_exits', severity: 'critical' }]);
    expect(names([0, 2, 3])).toEqual([]);
    expect(names([], { gone: true, slopes: [] })).toEqual([{ name: 'worker_gone', severity: 'critical' }]);
  });

  it('warns of a leak only when the low end of the slope is beyond the threshold', () => {
    const slopes = (low: number) => [{ worker: 'w:1', slope: 90, low, high: 120 }];
    expect(fired({ workers: { gone: false, slopes: slopes(40) } })).toEqual([]);
    expect(fired({ workers: { gone: false, slopes: slopes(60) } })).toEqual(['memory_leak']);
  });
});
