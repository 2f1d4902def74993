import { describe, expect, it } from '@jest/globals';
import { workerErrors, workerMetrics } from './service-tables.ts';

describe('workerMetrics', () => {
  const source = (rows: string): string => `PREFIX = "w_"\n\nTABLE: tuple[tuple[type[Counter], str], ...] = (\n${rows}\n)\n\nOTHER = (Counter, "x")\n`;

  it('reads rows on one line and on several, with labels and help in parts', () => {
    const rows = '    (Counter, "a_total", "A.", ("outcome", "kind")),\n    (\n        Histogram,\n        "b_ms",\n        "B "\n        "more.",\n        (),\n    ),';
    expect(workerMetrics(source(rows))).toEqual([
      { type: 'counter', name: 'w_a_total', help: 'A.', labels: ['outcome', 'kind'] },
      { type: 'histogram', name: 'w_b_ms', help: 'B more.', labels: [] },
    ]);
  });

  it('refuses a row that it does not understand, so that none is left out in silence', () => {
    expect(() => workerMetrics(source('    (Counter, "a_total", "A.", ()),\n    (Gauge, "b", HELP, ()),'))).toThrow('not understood');
    expect(() => workerMetrics('')).toThrow('not understood');
  });
});

describe('workerErrors', () => {
  it('reads status and message, the values named as they are elsewhere', () => {
    const source = 'REASONS: dict[str, tuple] = {\n    "A": (\n        grpc.StatusCode.NOT_FOUND,\n        "no {x!r} "\n        "here",\n    ),\n    "B": (INVALID, "bad {y}"),\n}\n';
    expect([...workerErrors(source)]).toEqual([
      ['A', { code: 'NOT_FOUND', message: 'no {x} here' }],
      ['B', { code: 'INVALID_ARGUMENT', message: 'bad {y}' }],
    ]);
  });

  it('refuses a row that it does not understand', () => {
    expect(() => workerErrors('REASONS: dict = {\n    "A": make("x"),\n}\n')).toThrow('not understood');
  });
});
