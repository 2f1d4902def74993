import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bucketByKey, isInRollout } from '@mlx-serving/hashing';
import { FeatureFlagLoader } from './index.ts';

const YAML = `
phase4_rollout: { enabled: true, percentage: 100, hash_seed: phase4 }
ttft_pipeline:
  enabled: true
  rollout_percentage: 10
  hash_seed: "ttft-2025"
  speculation: { enabled: false }
  environments: { production: { rollout_percentage: 0 } }
segments: { staff: { included_keys: [ada] } }
console: { enabled: true, hash_seed: c, segments: [staff] }
observability: { log_feature_decisions: true }
`;
let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'loader-'));
  path = join(directory, 'feature-flags.yaml');
  writeFileSync(path, YAML);
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('FeatureFlagLoader (F16)', () => {
  it('decides by the seed of the file, the same each time', () => {
    const loader = new FeatureFlagLoader(path);
    for (const key of ['user-1', 'user-2', 'user-3', 'request-123']) {
      const results = Array.from({ length: 10 }, () => loader.isEnabled('ttft_pipeline', key));
      expect(results.every((result) => result === isInRollout(bucketByKey(key, 'ttft-2025'), 10))).toBe(true);
    }
    expect([loader.isEnabled('phase4_rollout'), loader.isEnabled('ttft_pipeline.speculation', 'u'), loader.isEnabled('nobody', 'u')]).toEqual([true, false, false]);
    expect([loader.isEnabled('console', 'ada'), loader.isEnabled('console', 'eve')]).toEqual([true, false]);
  });

  it('shows its configuration under the names of the file, the alias of the percentage included', () => {
    const loader = new FeatureFlagLoader(path);
    expect(loader.getConfig('ttft_pipeline')).toEqual({ enabled: true, rollout_percentage: 10, hash_seed: 'ttft-2025', strategy: 'hash' });
    expect(loader.getConfig('phase4_rollout').rollout_percentage).toBe(100);
    expect(loader.getConfig('nobody').enabled).toBe(false);
    expect(Object.keys(loader.getAllFlags())).toEqual(['phase4_rollout', 'ttft_pipeline', 'ttft_pipeline.speculation', 'console']);
  });

  it('counts its decisions, and tells of each', () => {
    const lines: string[] = [];
    const loader = new FeatureFlagLoader(path, { log: (line) => lines.push(line) });
    const told: unknown[] = [];
    expect(loader.getStats()).toEqual({ totalDecisions: 0, enabledCount: 0, disabledCount: 0, actualPercentage: 0 });
    loader.on('decision', (feature, key, enabled) => told.push([feature, key, enabled]));
    loader.isEnabled('phase4_rollout', 'request-123');
    loader.isEnabled('nobody');
    expect(loader.getStats()).toEqual({ totalDecisions: 2, enabledCount: 1, disabledCount: 1, actualPercentage: 50 });
    expect(told).toEqual([['phase4_rollout', 'request-123', true], ['nobody', undefined, false]]);
    expect(lines[0]).toBe('Feature flag decision: phase4_rollout for request-123 => enabled');
  });

  it('reloads, obeys the kill switch, and keeps what it has when the file is invalid', async () => {
    const loader = new FeatureFlagLoader(path);
    expect(loader.getKillSwitch()).toBe(false);
    writeFileSync(path, 'phase4_rollout: { enabled: yes please }');
    await expect(loader.reload()).rejects.toMatchObject({ message: expect.stringContaining('feature-flags.yaml:1:') });
    expect(loader.isEnabled('phase4_rollout', 'u')).toBe(true);
    writeFileSync(path, `${YAML}emergency: { kill_switch: true }\n`);
    await loader.reload();
    expect([loader.getKillSwitch(), loader.isEnabled('phase4_rollout', 'u')]).toEqual([true, false]);
  });

  it('holds what its environment says, and explains itself', () => {
    const loader = new FeatureFlagLoader(path, { environment: 'production' });
    expect(loader.getConfig('ttft_pipeline').rollout_percentage).toBe(0);
    expect(loader.explain('ttft_pipeline', { key: 'u' })).toMatchObject({ enabled: false, steps: expect.arrayContaining([{ check: 'rollout', detail: '0 %: nobody' }]) });
  });
});
