import { describe, expect, it } from '@jest/globals';
import { dashboardProblems, expressionProblems, knownSeries } from './dashboard-problems.ts';

const series = knownSeries(
  [
    { type: 'counter', name: 'a_total', help: '', labels: ['variant'] },
    { type: 'histogram', name: 'b_ms', help: '' },
  ],
  ['process_cpu_seconds_total'],
);

describe('expressionProblems', () => {
  it.each(['sum by (variant, job) (rate(a_total{variant="canary"}[1m]))', 'b_ms_bucket{le="1"} / b_ms_count', 'up', 'process_cpu_seconds_total'])('finds nothing wrong in %s', (expression) => {
    expect(expressionProblems(expression, series)).toEqual([]);
  });

  it.each([
    ['c_total', 'c_total: no table has c_total'],
    ['b_ms', 'b_ms: no table has b_ms'],
    ['a_total_bucket', 'a_total_bucket: no table has a_total_bucket'],
    ['a_total{user="x"}', 'a_total{user="x"}: its metrics have no label user'],
    ['sum by (tenant) (a_total)', 'sum by (tenant) (a_total): its metrics have no label tenant'],
    ['vector(1)', 'vector(1): reads no metric'],
  ])('finds what is wrong in %s', (expression, problem) => {
    expect(expressionProblems(expression, series)).toEqual([problem]);
  });
});

describe('dashboardProblems', () => {
  const good = { id: 1, title: 'A', type: 'timeseries', datasource: { uid: 'p' }, targets: [{ expr: 'sum by (variant) (a_total)', legendFormat: '{{variant}}' }] };

  it('finds nothing wrong in a good dashboard', () => {
    expect(dashboardProblems({ uid: 'd', panels: [good, { id: 2, title: 'Row', type: 'row' }] }, series, 'p')).toEqual([]);
  });

  it('finds an id given twice, a panel without query, a wrong data source and a legend of nothing', () => {
    const bad = { ...good, targets: [{ expr: 'sum(a_total)', legendFormat: '{{user}}' }] };
    const panels = [good, bad, { id: 3, title: 'B', type: 'stat', datasource: { uid: 'p' } }, { ...good, id: 4, datasource: { uid: 'q' } }];
    expect(dashboardProblems({ uid: 'd', panels }, series, 'p')).toEqual([
      'two panels have the id 1',
      'B: has no query',
      'A: its data source is not p',
      'A: the legend shows user, which the result does not have',
    ]);
  });
});
