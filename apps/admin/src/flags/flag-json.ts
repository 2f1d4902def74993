import type { Emergency, Flag, Propagation } from '@mlx-serving/contracts';

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
