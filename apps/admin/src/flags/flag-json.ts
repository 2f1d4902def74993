import type { Emergency, Flag, PendingChange, PreviewFlagResponse, Propagation } from '@mlx-serving/contracts';

/** Fields that the answer adds to the definition; a definition that is sent back may hold them, and they are not stored. */
export const ADDED_FIELDS = ['name', 'killed', 'kill', 'revision'] as const;

/** A flag as JSON: its name, its definition, and what holds beside the definition. */
export function flagJson({ name, definitionJson, kill, revision }: Flag): Record<string, unknown> {
  const definition = JSON.parse(definitionJson) as Record<string, unknown>;
  const added = {
    name,
    killed: kill !== undefined || definition['killSwitch'] === true,
    kill: kill ? { actor: kill.actor, reason: kill.reason, at: new Date(Number(kill.atMs)).toISOString() } : null,
    revision: Number(revision),
  };
  const named: Record<string, unknown> = { name, ...definition };
  return { ...named, ...added };
}

/** Who has applied a change, in how many milliseconds, and who has not. */
export function propagationJson(propagation: Propagation | undefined): Record<string, unknown> {
  return {
    revision: Number(propagation?.revision ?? 0n),
    acknowledged: (propagation?.acknowledged ?? []).map(({ replicaId, milliseconds }) => ({ replica: replicaId, milliseconds: Math.round(milliseconds * 1000) / 1000 })),
    missing: propagation?.missing ?? [],
    durable: propagation?.durable ?? true,
  };
}

export function emergencyJson(emergency: Emergency | undefined): Record<string, unknown> {
  const atMs = Number(emergency?.atMs ?? 0n);
  return {
    kill_switch: emergency?.killSwitch ?? false,
    rollback_to_baseline: emergency?.rollbackToBaseline ?? false,
    actor: emergency?.actor ?? '',
    reason: emergency?.reason ?? '',
    at: atMs === 0 ? null : new Date(atMs).toISOString(),
  };
}

/** A change that waits for a second person. */
export function pendingJson({ id, action, flag, after, requestedBy, reason, atMs, why }: PendingChange): Record<string, unknown> {
  return { id, action, flag, after: after === '' ? null : (JSON.parse(after) as unknown), requested_by: requestedBy, reason, at: new Date(Number(atMs)).toISOString(), why };
}

/** What a draft would change for the contexts that the gateways have seen lately. */
export function impactJson({ impact, answered, missing }: PreviewFlagResponse): Record<string, unknown> {
  const [contexts, turnedOn, turnedOff, onAfter] = [impact?.contexts, impact?.turnedOn, impact?.turnedOff, impact?.onAfter].map((count) => Number(count ?? 0n));
  const message = `turns on ${turnedOn} of ${contexts} recent keys, off ${turnedOff}`;
  return { message, contexts, turned_on: turnedOn, turned_off: turnedOff, on_after: onAfter, answered, missing };
}
