import type { ExternalChange } from './external-changes.ts';
import type { KillRecord, RecordKind, StoredFlag, StoredState } from './flag-store.ts';
import { readAuditHead, readEmergency, readKill, toFields } from './redis-records.ts';
import { RECORD_KINDS } from './script-common.ts';

/** What the script `load` answers, in its order: the records are the last. */
type ScriptAnswer = [lost: string, revision: string, epoch: string, emergency: string[], head: string[], now: string, ...records: string[][]];
/** That, and the hashes that are read with it. */
export type LoadAnswer = [ScriptAnswer, flags: string[], texts: string[], revisions: string[], kills: string[], digests: string[]];

/** @returns the state of the store, what other tools changed in it, and its time */
export function readLoadAnswer(answer: LoadAnswer): { state: StoredState; changes: ExternalChange[]; nowMs: number } {
  const [[lost, revision, epoch, emergency, head, now, ...records], ...hashes] = answer;
  const [current, texts, revisions, killTexts, digests] = hashes.map(toFields) as [Fields, Fields, Fields, Fields, Fields];
  const kills = new Map<string, KillRecord>([...killTexts].map(([name, text]) => [name, readKill(text)!]));
  const flags = new Map<string, StoredFlag>([...current].map(([name, text]) => [name, { text, revision: BigInt(revisions.get(name) ?? 0), kill: kills.get(name) }]));
  const recordsOf = (kind: RecordKind): Map<string, string> => toFields(records[RECORD_KINDS.indexOf(kind)]);
  const state: StoredState = {
    ...{ lost: lost === '1', revision: BigInt(revision), epoch, flags, kills },
    emergency: readEmergency(toFields(emergency)),
    auditHead: { ...readAuditHead(head), revision: BigInt(revision) },
    records: { segments: recordsOf('segments'), tokens: recordsOf('tokens'), pending: recordsOf('pending'), rollouts: recordsOf('rollouts'), 'api-keys': recordsOf('api-keys') },
  };
  return { state, changes: changesBetween(texts, digests, current), nowMs: Number(now) };
}

/** Whether two hashes, as flat lists, hold the same. */
export function isSame(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false;
  const fields = toFields(other);
  for (let i = 0; i < one.length; i += 2) if (fields.get(one[i]!) !== one[i + 1]) return false;
  return true;
}

type Fields = Map<string, string>;

function changesBetween(texts: Fields, digests: Fields, current: Fields): ExternalChange[] {
  const changes: ExternalChange[] = [];
  for (const name of new Set([...current.keys(), ...texts.keys()])) {
    const [text, after] = [texts.get(name), current.get(name)];
    if (text !== after) changes.push({ name, before: text === undefined ? undefined : { text, digest: digests.get(name) ?? '' }, after });
  }
  return changes;
}
