import { describe, expect, it } from '@jest/globals';
import { groupingLabelsOf, metricsOf } from './promql-metrics.ts';

describe('metricsOf', () => {
  it.each([
    ['up', ['up']],
    ['rate(a_total[5m]) / on (x) b', ['a_total', 'b']],
    ['sum by (le, variant) (rate(a_bucket[5m]))', ['a_bucket']],
    ['histogram_quantile(0.95, sum by (le) (rate(a_bucket[1m])))', ['a_bucket']],
    ['a{job="b", path=~"c|{d}"} > 0.5 and on(e) f offset 5m', ['a', 'f']],
    ['a > 1e3 or absent(b:c)', ['a', 'b:c']],
    ['a == bool 0 unless group_left(x) b', ['a', 'b']],
    ['vector(1)', []],
  ])('reads %s', (expression, names) => {
    expect(metricsOf(expression).map(({ name }) => name)).toEqual(names);
  });

  it('reads the labels by which a metric is selected', () => {
    expect(metricsOf('up{job!="x",instance=~".+"} == 0')).toEqual([{ name: 'up', labels: ['job', 'instance'] }]);
  });
});

describe('groupingLabelsOf', () => {
  it('reads the labels of every clause', () => {
    expect(groupingLabelsOf('sum by (a, b) (x) / ignoring(c) group_left () y')).toEqual(['a', 'b', 'c']);
  });
});
