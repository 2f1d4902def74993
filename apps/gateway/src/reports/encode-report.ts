import { create } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { type Decision, type StreamReport, type StreamReportBatch, StreamReportBatchSchema } from '@mlx-serving/contracts';
import type { Batch } from '@mlx-serving/service-kit';
import { WireWriter } from '../transport/wire-writer.ts';
import { WrittenFlags } from './written-flags.ts';

const { number: REPORTS } = StreamReportBatchSchema.field.reports;
const writer = new WireWriter();
const flagWriter = new WireWriter();
const writtenFlags = new WrittenFlags(writeFlags);

/** A report as it lies in a batch: its length and its bytes. */
export type EncodedReport = Uint8Array;

/** Encodes a report once for all links that carry it. Field numbers as in proto/mlx_serving/v1/decision.proto. */
export function encodeReport(report: StreamReport): EncodedReport {
  writer.begin();
  const start = writer.open();
  if (report.decision) writeDecision(report.decision);
  writer.text(2, report.gatewayId);
  writer.text(3, report.workerId);
  writer.text(4, report.model);
  writer.uint(5, report.outcome);
  writer.text(6, report.errorReason);
  writer.long(7, report.startedAtMs);
  if (report.ttftMs !== undefined) writer.double(8, report.ttftMs);
  writer.double(9, report.durationMs);
  if (report.usage) {
    const usage = writer.open(10);
    writer.uint(1, report.usage.promptTokens);
    writer.uint(2, report.usage.completionTokens);
    writer.uint(3, report.usage.cachedPromptTokens);
    writer.close(usage);
  }
  writer.uint(11, report.finishReason);
  if (report.tokenGapP95Ms !== undefined) writer.double(12, report.tokenGapP95Ms);
  writer.uint(13, report.repeatedOutput ? 1 : 0);
  if (report.sameOutput !== undefined) writer.optionalUint(14, report.sameOutput ? 1 : 0);
  writer.uint(15, report.choice);
  if (report.queuedMs !== undefined) writer.double(16, report.queuedMs);
  writer.text(17, report.flagKeyHash);
  writer.uint(18, report.emptyOutput ? 1 : 0);
  writer.close(start);
  return writer.finish();
}

function writeDecision(decision: Decision): void {
  const start = writer.open(1);
  writer.text(1, decision.requestId);
  writer.text(2, decision.variant);
  writer.text(3, decision.variantReason);
  writer.raw(writtenFlags.of(decision));
  writer.long(6, decision.flagsRevision);
  writer.long(7, decision.routingRevision);
  writer.text(8, decision.routingKeyHash);
  writer.close(start);
}

function writeFlags({ enabledFlags, flagReasons }: Pick<Decision, 'enabledFlags' | 'flagReasons'>): Buffer {
  flagWriter.begin();
  for (const flag of enabledFlags) flagWriter.item(4, flag);
  for (const name of Object.keys(flagReasons)) {
    const entry = flagWriter.open(5);
    flagWriter.item(1, name);
    flagWriter.item(2, flagReasons[name] ?? '');
    flagWriter.close(entry);
  }
  return flagWriter.finish();
}

/** The batch of reports that are encoded already. Only for sending: its `reports` are empty here. */
export function encodedBatch({ items, dropped, first }: Batch<EncodedReport>): StreamReportBatch {
  const batch = create(StreamReportBatchSchema, { dropped: BigInt(dropped), firstSequence: BigInt(first) });
  batch.$unknown = items.map((data) => ({ no: REPORTS, wireType: WireType.LengthDelimited, data }));
  return batch;
}
