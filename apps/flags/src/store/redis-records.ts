import { z } from 'zod';
import { type AuditHead, type EmergencyRecord, type FlagChange, type KillRecord, NO_EMERGENCY, type StoredAuditEntry } from './flag-store.ts';
import { readText } from './read-text.ts';

const killRecord = z.object({ actor: z.string().catch(''), reason: z.string().catch(''), atMs: z.int().catch(0) });
const flagChange = z.object({
  revision: z.string().regex(/^\d{1,18}$/).transform(BigInt),
  emergency: z.boolean(),
  records: z.boolean().default(false),
  names: z.array(z.string()),
});

/** A kill's record; one that cannot be read is still a kill. */
export function readKill(text: string | null | undefined): KillRecord | undefined {
  if (text === null || text === undefined) return undefined;
  return readText(killRecord, text) ?? { actor: '', reason: 'The record of this kill cannot be read.', atMs: 0 };
}

export function readEmergency(fields: ReadonlyMap<string, string>): EmergencyRecord {
  if (fields.size === 0) return NO_EMERGENCY;
  return {
    killSwitch: fields.get('killSwitch') === '1',
    rollbackToBaseline: fields.get('rollbackToBaseline') === '1',
    actor: fields.get('actor') ?? '',
    reason: fields.get('reason') ?? '',
    atMs: Number(fields.get('atMs') ?? 0) || 0,
  };
}

/** @returns undefined for a message that no flag service wrote */
export function readChange(text: string): FlagChange | undefined {
  return readText(flagChange, text);
}

/** One entry of the stream as Redis answers it. */
export function readAuditEntry([id, list]: [string, string[]]): StoredAuditEntry {
  const fields = toFields(list);
  return { id, entry: fields.get('entry') ?? '', hash: fields.get('hash') ?? '', before: fields.get('before'), after: fields.get('after') };
}

export function readAuditHead(list: readonly (string | null)[] | undefined): AuditHead {
  return { count: Number(list?.[0] ?? 0), hash: list?.[1] ?? '' };
}

/** A flat list of names and values, as Lua hands a hash over. */
export function toFields(list: readonly string[] | undefined): Map<string, string> {
  const fields = new Map<string, string>();
  for (let i = 0; list && i + 1 < list.length; i += 2) fields.set(list[i]!, list[i + 1]!);
  return fields;
}
