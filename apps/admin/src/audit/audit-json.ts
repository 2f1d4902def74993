import type { AuditEntry } from '@mlx-serving/contracts';

/** One entry of the audit trail; texts that are JSON are shown as what they mean. */
export function auditJson({ revision, atMs, actor, reason, action, flag, before, after, previousHash, hash }: AuditEntry): Record<string, unknown> {
  return { revision: Number(revision), at: new Date(Number(atMs)).toISOString(), actor, reason, action, flag, before: meaning(before), after: meaning(after), previous_hash: previousHash, hash };
}

function meaning(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
