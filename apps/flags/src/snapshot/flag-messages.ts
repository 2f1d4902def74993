import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type EmergencySchema, encodeOnce, type FlagSchema, type FlagsLinkResponse, FlagsLinkResponseSchema, type FlagSnapshotSchema, type SegmentSchema } from '@mlx-serving/contracts';
import type { FeatureFlagsFile } from '@mlx-serving/policy';
import type { EmergencyRecord } from '../store/flag-store.ts';
import type { LiveChange, LiveFlag, LiveFlags } from './live-flags.ts';
import type { LiveSegment } from './live-segments.ts';

export function toFlagMessage({ name, text, revision, kill }: Omit<LiveFlag, 'config'>): MessageInitShape<typeof FlagSchema> {
  const flag = { name, definitionJson: text, revision };
  return kill ? { ...flag, kill: { actor: kill.actor, reason: kill.reason, atMs: BigInt(kill.atMs) } } : flag;
}

export function toSegmentMessage({ name, text, revision }: LiveSegment): MessageInitShape<typeof SegmentSchema> {
  return { name, definitionJson: text, revision };
}

export function toEmergencyMessage({ killSwitch, rollbackToBaseline, actor, reason, atMs }: EmergencyRecord): MessageInitShape<typeof EmergencySchema> {
  return { killSwitch, rollbackToBaseline, actor, reason, atMs: BigInt(atMs) };
}

export function toSnapshotMessage(live: LiveFlags): MessageInitShape<typeof FlagSnapshotSchema> {
  return {
    revision: live.revision,
    flags: live.flags.map(toFlagMessage),
    emergency: toEmergencyMessage(live.emergency),
    takenAtMs: BigInt(live.takenAtMs ?? 0),
    segments: live.segments.map(toSegmentMessage),
  };
}

export function snapshotDirective(live: LiveFlags): FlagsLinkResponse {
  return create(FlagsLinkResponseSchema, { message: { case: 'snapshot', value: toSnapshotMessage(live) } });
}

/** What `observability` of the file says to gateways. */
export function observabilityDirective({ log_feature_decisions, log_sampling, export_metrics }: FeatureFlagsFile['observability']): FlagsLinkResponse {
  const value = { logFeatureDecisions: log_feature_decisions, logSampling: log_sampling, exportMetrics: export_metrics };
  return create(FlagsLinkResponseSchema, { message: { case: 'observability', value } });
}

/** The message for every link: what changed, or everything when there is nothing to build upon. */
export function changeDirective(live: LiveFlags, change: LiveChange): FlagsLinkResponse {
  const { baseRevision, revision, changed, removed, emergency, changedSegments, removedSegments } = change;
  if (baseRevision === undefined) return encodeOnce(FlagsLinkResponseSchema, snapshotDirective(live));
  const delta = { baseRevision, revision, changed: changed.map(toFlagMessage), removed: [...removed], changedSegments: changedSegments.map(toSegmentMessage), removedSegments: [...removedSegments] };
  const value = emergency ? { ...delta, emergency: toEmergencyMessage(emergency) } : delta;
  return encodeOnce(FlagsLinkResponseSchema, create(FlagsLinkResponseSchema, { message: { case: 'delta', value } }));
}
