import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type AuditEntrySchema, type Flags, FlagSnapshotSchema, type Handlers } from '@mlx-serving/contracts';
import { compileFlags } from '@mlx-serving/evaluation';
import { flagConfig, flagInEnvironment, segmentDefinition } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import { toEmergencyMessage, toFlagMessage, toSegmentMessage } from '../snapshot/flag-messages.ts';
import type { AuditEntry } from './audit-entry.ts';
import type { AuditService } from './audit-service.ts';
import type { FlagsOfMoment } from './past-state.ts';

/** The calls that read the audit trail, and those that ask the flags of a moment, of this one too. */
export function createAuditHandlers(audit: AuditService, live: LiveFlags, environment: string): Pick<Handlers<typeof Flags>, 'listAudit' | 'verifyAudit' | 'getFlagsAt'> {
  return {
    listAudit: async ({ flag, actor, action, text, sinceMs, untilMs, beforeRevision, limit }) => {
      const { entries, next } = await audit.search({ flag, actor, action, text, sinceMs: Number(sinceMs), untilMs: Number(untilMs), beforeRevision, limit });
      const answer = { entries: entries.map(toEntryMessage) };
      return next === undefined ? answer : { ...answer, nextBeforeRevision: next };
    },
    verifyAudit: async () => {
      const { entries, headHash, problems } = await audit.verify();
      return { intact: problems.length === 0, entries: BigInt(entries), headHash, problems };
    },
    getFlagsAt: async ({ moment, name, key, attributesJson }) => {
      const past = moment.case === undefined ? now(live) : await audit.at(moment.case === 'revision' ? { revision: moment.value } : { atMs: Number(moment.value) });
      const flags = name === '' ? past.flags : past.flags.filter((flag) => flag.name === name);
      if (name !== '' && flags.length === 0) throw moment.case === undefined ? errors.FLAG_NOT_FOUND({ name }) : errors.REVISION_UNKNOWN({ name });
      const { revision, emergency, segments, atMs } = past;
      const snapshot = create(FlagSnapshotSchema, { revision, flags: flags.map(toFlagMessage), emergency: toEmergencyMessage(emergency), segments: segments.map(toSegmentMessage), takenAtMs: BigInt(atMs) });
      return name === '' ? { snapshot } : { snapshot, ...explain(past, name, { key, attributesJson, environment }) };
    },
  };
}

function now(live: LiveFlags): FlagsOfMoment {
  if (live.takenAtMs === undefined) throw errors.NOT_LOADED();
  return { revision: live.storeRevision, atMs: live.takenAtMs, flags: live.flags, segments: live.segments, emergency: live.emergency };
}

function explain(past: FlagsOfMoment, name: string, context: { key: string | undefined; attributesJson: string; environment: string }) {
  const flags = past.flags.flatMap((flag) => {
    const parsed = flagConfig.safeParse(parseJson(flag.text));
    return parsed.success ? [{ name: flag.name, config: flagInEnvironment(parsed.data, context.environment), killed: flag.kill !== undefined }] : [];
  });
  const segments = past.segments.flatMap((segment) => {
    const parsed = segmentDefinition.safeParse(parseJson(segment.text));
    return parsed.success ? [{ name: segment.name, definition: parsed.data }] : [];
  });
  const attributes = context.attributesJson === '' ? {} : parseJson(context.attributesJson);
  if (typeof attributes !== 'object' || attributes === null) throw errors.FLAG_INVALID({ problem: 'The attributes are not a JSON object.' }, { param: 'attributes_json' });
  const asked = { key: context.key, attributes: attributes as Record<string, unknown> };
  const { enabled, reason, standardReason, variant = '', steps } = compileFlags({ flags, segments, emergency: past.emergency }).explain(name, asked);
  return { enabled, reason, standardReason, variant, steps: [...steps] };
}

function toEntryMessage({ before, after, atMs, ...entry }: AuditEntry): MessageInitShape<typeof AuditEntrySchema> {
  return { ...entry, atMs: BigInt(atMs), ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
