import { create, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { type StreamReport, type StreamReportBatch, StreamReportBatchSchema } from '@mlx-serving/contracts';
import type { Batch } from '@mlx-serving/service-kit';

const { number: REPORTS } = StreamReportBatchSchema.field.reports;
/** Bytes of the number of a field below 16. */
const TAG_BYTES = 1;

/** A report as it lies in a batch: its length and its bytes. */
export type EncodedReport = Uint8Array;

/** Encodes a report once for all links that carry it. */
export function encodeReport(report: StreamReport): EncodedReport {
  return toBinary(StreamReportBatchSchema, create(StreamReportBatchSchema, { reports: [report] })).subarray(TAG_BYTES);
}

/** The batch of reports that are encoded already. Only for sending: its `reports` are empty here. */
export function encodedBatch({ items, dropped, first }: Batch<EncodedReport>): StreamReportBatch {
  const batch = create(StreamReportBatchSchema, { dropped: BigInt(dropped), firstSequence: BigInt(first) });
  batch.$unknown = items.map((data) => ({ no: REPORTS, wireType: WireType.LengthDelimited, data }));
  return batch;
}
