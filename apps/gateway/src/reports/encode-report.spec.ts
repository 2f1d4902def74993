import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FinishReason, StreamOutcome, type StreamReport, StreamReportBatchSchema, StreamReportSchema } from '@mlx-serving/contracts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { encodedBatch, encodeReport } from './encode-report.ts';

// Never NaN and never -0, which protobuf-es leaves out.
const double = fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0));
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const uint = fc.integer({ min: 0, max: 0xffff_ffff });
const revision = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
// protobuf-es takes a byte order mark at a text's beginning away when it reads.
const text = fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 300 })).filter((value) => !value.startsWith('\ufeff'));
const decision = fc.record({ requestId: text, variant: text, variantReason: text, enabledFlags: fc.array(text), flagReasons: fc.dictionary(text, text), flagsRevision: revision, routingRevision: revision, routingKeyHash: text });
const usage = fc.record({ promptTokens: uint, completionTokens: uint, cachedPromptTokens: uint });
const report = fc
  .record({
    decision: optional(decision),
    gatewayId: text,
    workerId: text,
    model: text,
    outcome: fc.constantFrom(StreamOutcome.UNSPECIFIED, StreamOutcome.OK, StreamOutcome.REJECTED),
    errorReason: text,
    startedAtMs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    ttftMs: optional(double),
    durationMs: double,
    usage: optional(usage),
    finishReason: fc.constantFrom(FinishReason.UNSPECIFIED, FinishReason.LENGTH),
    tokenGapP95Ms: optional(double),
    repeatedOutput: fc.boolean(),
    emptyOutput: fc.boolean(),
    sameOutput: optional(fc.boolean()),
    choice: uint,
    queuedMs: optional(double),
    flagKeyHash: text,
  })
  .map((fields): StreamReport => create(StreamReportSchema, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))));

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

  it('say of their flags what each decision says, also when decisions share it', () => {
    const flagReasons = Object.freeze({ a: 'ROLLED_OUT', b: 'KILLED' });
    const enabledFlags = Object.freeze(['a']) as string[];
    const reports = ['1', '2'].map((requestId) => create(StreamReportSchema, { decision: { requestId, enabledFlags, flagReasons } }));
    const others = create(StreamReportSchema, { decision: { requestId: '3', enabledFlags: ['b'], flagReasons } });
    const sent = toBinary(StreamReportBatchSchema, encodedBatch({ items: [...reports, others].map(encodeReport), dropped: 0, first: 1 }));
    expect(fromBinary(StreamReportBatchSchema, sent).reports.map((one) => one.decision)).toMatchObject([
      { requestId: '1', enabledFlags: ['a'], flagReasons },
      { requestId: '2', enabledFlags: ['a'], flagReasons },
      { requestId: '3', enabledFlags: ['b'], flagReasons },
    ]);
  });
});
