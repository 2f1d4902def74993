import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { runtimeFile } from '@mlx-serving/policy';
import { parseYaml } from '@mlx-serving/service-kit';
import { checkPolicies } from './check-policies.ts';

const text = readFileSync(fileURLToPath(new URL('../../../../config/runtime.yaml', import.meta.url)), 'utf8');
const check = (changed: string) => parseYaml('runtime.yaml', changed, runtimeFile, checkPolicies);

describe('checkPolicies', () => {
  it('accepts the configuration that ships', () => {
    expect(check(text).governor.max_concurrent_streams).toBeGreaterThan(0);
  });

  it('names the line of a latency SLO that does not say which percentile it means', () => {
    const line = text.split('\n').findIndex((each) => each.includes('- name: ttft_p95')) + 1;
    expect(() => check(text.replace('name: ttft_p95', 'name: ttft'))).toThrow(new RegExp(`^runtime.yaml:${line}:.*ttft_p95`));
  });

  it('accepts such an SLO when it gives the percentile itself', () => {
    expect(() => check(text.replace('name: ttft_p95', 'name: ttft\n            percentile: 95'))).not.toThrow();
  });

  it('refuses two policies of one id', () => {
    expect(() => check(text.replace('id: error_rate_policy', 'id: default_ttft_policy'))).toThrow('There are two policies default_ttft_policy.');
  });
});
