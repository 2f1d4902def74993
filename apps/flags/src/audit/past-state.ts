import { z } from 'zod';
import { type EmergencyRecord, type KillRecord, NO_EMERGENCY } from '../store/flag-store.ts';
import { readKill } from '../store/redis-records.ts';
import type { LiveSegment } from '../snapshot/live-segments.ts';
import type { AuditEntry } from './audit-entry.ts';

const emergency = z.object({ killSwitch: z.boolean(), rollbackToBaseline: z.boolean(), actor: z.string(), reason: z.string(), atMs: z.number() });

/** One flag as it was. */
export interface PastFlag {
  readonly name: string;
  readonly text: string;
  readonly revision: bigint;
  readonly kill: KillRecord | undefined;
}

/** Everything that decides at one moment. */
export interface FlagsOfMoment {
  readonly revision: bigint;
  /** Unix time in milliseconds. */
  readonly atMs: number;
  readonly flags: readonly PastFlag[];
  readonly segments: readonly LiveSegment[];
  readonly emergency: EmergencyRecord;
}

/** The flags as they were, made by following the audit trail from its beginning. */
export class PastState implements FlagsOfMoment {
  readonly #texts = new Map<string, { text: string; revision: bigint }>();
  readonly #kills = new Map<string, { kill: KillRecord; revision: bigint }>();
  readonly #segments = new Map<string, LiveSegment>();
  #emergency: EmergencyRecord = NO_EMERGENCY;
  revision = 0n;
  atMs = 0;

  get flags(): PastFlag[] {
    return [...this.#texts]
      .map(([name, { text, revision }]) => {
        const killed = this.#kills.get(name);
        return { name, text, kill: killed?.kill, revision: killed && killed.revision > revision ? killed.revision : revision };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get segments(): LiveSegment[] {
    return [...this.#segments.values()];
  }

  get emergency(): EmergencyRecord {
    return this.#emergency;
  }

  follow({ revision, atMs, action, flag, after }: AuditEntry): void {
    this.revision = revision;
    this.atMs = atMs;
    if (action === 'kill' || action === 'revive') {
      const kill = readKill(after);
      if (kill) this.#kills.set(flag, { kill, revision });
      else this.#kills.delete(flag);
    } else if (action === 'emergency') {
      this.#emergency = emergency.catch(NO_EMERGENCY).parse(after === undefined ? undefined : JSON.parse(after));
    } else if (action.startsWith('segments.')) {
      if (after === undefined) this.#segments.delete(flag);
      else this.#segments.set(flag, { name: flag, text: after, revision });
    } else if (!action.includes('.')) {
      if (after === undefined) this.#texts.delete(flag);
      else this.#texts.set(flag, { text: after, revision });
    }
  }
}
