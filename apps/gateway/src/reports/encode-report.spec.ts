import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { StreamOutcome, type StreamReport, StreamReportBatchSchema, StreamReportSchema } from '@mlx-serving/contracts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { encodedBatch, encodeReport } from './encode-report.ts';

const report = fc
  .record({ requestId: fc.string(), reasons: fc.dictionary(fc.string(), fc.string()), worker: fc.string({ maxLength: 300 }), ttftMs: fc.option(fc.double({ noNaN: true }), { nil: undefined }) })
  .map(({ requestId, reasons, worker, ttftMs }): StreamReport => create(StreamReportSchema, { decision: { requestId, flagReasons: reasons }, workerId: worker, outcome: StreamOutcome.OK, ...(ttftMs === undefined ? {} : { ttftMs }) }));

describe('reports that are encoded once', () => {
  it('read as the batch that they stand for', () => {
    fc.assert(
      fc.property(fc.array(report, { maxLength: 5 }), fc.nat(), fc.nat(), (reports, dropped, first) => {
        const whole = create(StreamReportBatchSchema, { reports, dropped: BigInt(dropped), firstSequence: BigInt(first) });
        const sent = toBinary(StreamReportBatchSchema, encodedBatch({ items: reports.map(encodeReport), dropped, first }));
        expect(fromBinary(StreamReportBatchSchema, sent)).toEqual(fromBinary(StreamReportBatchSchema, toBinary(StreamReportBatchSchema, whole)));
      }),
    );
  });
});
