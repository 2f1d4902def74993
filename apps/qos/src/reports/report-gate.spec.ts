import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { StreamReportBatchSchema } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { ReportGate } from './report-gate.ts';

const batch = (first: number, length: number) => create(StreamReportBatchSchema, { firstSequence: BigInt(first), reports: Array.from({ length }, (_, at) => ({ errorReason: String(first + at) })) });
const numbers = (reports: readonly { errorReason: string }[]): number[] => reports.map(({ errorReason }) => Number(errorReason));

describe('ReportGate', () => {
  it('lets each report through once, however often and in whatever pieces it is sent again', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 20 }), fc.infiniteStream(fc.nat({ max: 20 })), (lengths, back) => {
        const gate = new ReportGate();
        const taken: number[] = [];
        let sent = 1;
        for (const length of lengths) {
          const first = Math.max(1, sent - (back.next().value as number));
          taken.push(...numbers(gate.pass('g', 'e', batch(first, sent + length - first))));
          sent += length;
        }
        expect(taken).toEqual(Array.from({ length: sent - 1 }, (_, at) => at + 1));
      }),
    );
  });

  it('begins anew with each epoch, and keeps gateways apart', () => {
    const gate = new ReportGate();
    expect(numbers(gate.pass('g', 'e', batch(1, 2)))).toEqual([1, 2]);
    expect(numbers(gate.pass('h', 'e', batch(1, 1)))).toEqual([1]);
    expect(numbers(gate.pass('g', 'f', batch(1, 1)))).toEqual([1]);
    expect(numbers(gate.pass('g', 'f', batch(1, 1)))).toEqual([]);
  });

  it('goes on after a gap of reports that were dropped', () => {
    const gate = new ReportGate();
    gate.pass('g', 'e', batch(1, 2));
    expect(numbers(gate.pass('g', 'e', batch(10, 2)))).toEqual([10, 11]);
    expect(numbers(gate.pass('g', 'e', batch(9, 2)))).toEqual([]);
  });

  it('lets reports without numbers through', () => {
    const gate = new ReportGate();
    for (let time = 0; time < 2; time++) expect(gate.pass('g', 'e', batch(0, 1))).toHaveLength(1);
  });
});
