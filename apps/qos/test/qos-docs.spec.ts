import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { evaluatorSettings, executorSettings, governor, RULES, remediation, sloMetric } from '@mlx-serving/policy';
import { environment } from '../src/config.ts';
import { metricsTable } from '../src/metrics.ts';

const page = await readFile(new URL('../../../docs/qos.md', import.meta.url), 'utf8');
/** What stands first in the rows of the table under these headings. */
const rows = (heading: string): string[] => {
  const table = page.slice(page.indexOf(`| ${heading} |`)).split('\n\n')[0] ?? '';
  return table.split('\n').slice(2).flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] as string));
};

describe('docs/qos.md', () => {
  it('has every metric, every remediation, every verdict and every rule that withholds', () => {
    expect(rows('metric').sort()).toEqual([...sloMetric.options].sort());
    expect(rows('remediation').sort()).toEqual([...remediation.shape.type.options].sort());
    expect(rows('verdict')).toEqual(['ok', 'violated', 'insufficient_data', 'stale']);
    const known = Object.keys(RULES);
    expect(rows('rule').filter((rule) => !known.includes(rule))).toEqual([]);
    const holdingBack = ['cooldown', 'budget', 'owned', 'taken_over', 'reversal', 'at_bound', 'made_worse', 'loop', 'frozen', 'canary_judged', 'no_worker'];
    expect(holdingBack.filter((rule) => !rows('rule').includes(rule))).toEqual([]);
  });

  it('names only settings, variables and metrics that there are', () => {
    const settings = [evaluatorSettings, executorSettings, governor].flatMap(({ shape }) => Object.keys(shape));
    const named = [...page.matchAll(/`(?:governor\.|evaluator\.)?([a-z]+(?:_[a-z]+)+_(?:ms|share|window|streams|samples))`/g)].map((match) => match[1] as string);
    const ofPolicies = ['window_ms', 'duration_ms', 'long_ms', 'short_ms', 'min_samples'];
    expect(named.filter((name) => !settings.includes(name) && !ofPolicies.includes(name))).toEqual([]);
    const variables = Object.values(environment).map(({ name }): string => name);
    expect([...page.matchAll(/`(MLX_SERVING_[A-Z_]+)`/g)].map((match) => match[1] as string).filter((name) => !variables.includes(name))).toEqual([]);
    const metrics = Object.values(metricsTable).map(({ name }): string => name);
    expect([...page.matchAll(/`(mlx_serving_qos_\w+)`/g)].map((match) => match[1] as string).filter((name) => !metrics.includes(name))).toEqual([]);
  });
});
