import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type EmergencySchema, type FlagSchema, type FlagsLinkResponse, FlagsLinkResponseSchema, type FlagSnapshotSchema } from '@mlx-serving/contracts';
import type { EmergencyRecord } from '../store/flag-store.ts';
import type { LiveChange, LiveFlag, LiveFlags } from './live-flags.ts';

export function toFlagMessage({ name, text, revision, kill }: LiveFlag): MessageInitShape<typeof FlagSchema> {
  const flag = { name, definitionJson: text, revision };
  return kill ? { ...flag, kill: { actor: kill.actor, reason: kill.reason, atMs: BigInt(kill.atMs) } } : flag;
}

export function toEmergencyMessage({ killSwitch, rollbackToBaseline, actor, reason, atMs }: EmergencyRecord): MessageInitShape<typeof EmergencySchema> {
  return { killSwitch, rollbackToBaseline, actor, reason, atMs: BigInt(atMs) };
}

export function toSnapshotMessage(live: LiveFlags): MessageInitShape<typeof FlagSnapshotSchema> {
  return { revision: live.revision, flags: live.flags.map(toFlagMessage), emergency: toEmergencyMessage(live.emergency), takenAtMs: BigInt(live.takenAtMs ?? 0) };
}

export function snapshotDirective(live: LiveFlags): FlagsLinkResponse {
  return create(FlagsLinkResponseSchema, { message: { case: 'snapshot', value: toSnapshotMessage(live) } });
}

/** The message for every link: what changed, or everything when there is nothing to build upon. */
export function changeDirective(live: LiveFlags, change: LiveChange): FlagsLinkResponse {
  const { baseRevision, revision, changed, removed, emergency } = change;
  if (baseRevision === undefined) return snapshotDirective(live);
  const delta = { baseRevision, revision, changed: changed.map(toFlagMessage), removed: [...removed] };
  return create(FlagsLinkResponseSchema, { message: { case: 'delta', value: emergency ? { ...delta, emergency: toEmergencyMessage(emergency) } : delta } });
}
