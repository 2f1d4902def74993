import { z } from 'zod';
import { type EmergencyRecord, type KillRecord, NO_EMERGENCY } from '../store/flag-store.ts';
import { readKill } from '../store/redis-records.ts';
import type { LiveSegment } from '../snapshot/live-segments.ts';
import type { AuditEntry } from './audit-entry.ts';

const emergency = z.object({ killSwitch: z.boolean(), rollbackToBaseline: z.boolean(), actor: z.string(), reason: z.string(), atMs: z.number() });

const revision = z.string().transform(BigInt);
const killRecord = z.object({ actor: z.string(), reason: z.string(), atMs: z.number() });
const written = z.object({
  texts: z.array(z.tuple([z.string(), z.object({ text: z.string(), revision })])),
  kills: z.array(z.tuple([z.string(), z.object({ kill: killRecord, revision })])),
  segments: z.array(z.object({ name: z.string(), text: z.string(), revision })),
  emergency,
});

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

/** The flags as they were, made by following the audit trail from its beginning, or from where an archive ends. */
export class PastState implements FlagsOfMoment {
  readonly #texts = new Map<string, { text: string; revision: bigint }>();
  readonly #kills = new Map<string, { kill: KillRecord; revision: bigint }>();
  readonly #segments = new Map<string, LiveSegment>();
  #emergency: EmergencyRecord = NO_EMERGENCY;
  revision = 0n;
  atMs = 0;

  /** @param text what `toText` wrote; empty for the beginning of all */
  static fromText(text: string, { revision, atMs }: { revision: bigint; atMs: number }): PastState {
    const past = new PastState();
    if (text === '') return past;
    const { texts, kills, segments, emergency: switches } = written.parse(JSON.parse(text));
    for (const [name, flag] of texts) past.#texts.set(name, flag);
    for (const [name, kill] of kills) past.#kills.set(name, kill);
    for (const segment of segments) past.#segments.set(segment.name, segment);
    past.#emergency = switches;
    past.revision = revision;
    past.atMs = atMs;
    return past;
  }

  /** Everything that holds after the last entry that was followed. */
  toText(): string {
    const state = { texts: [...this.#texts], kills: [...this.#kills], segments: [...this.#segments.values()], emergency: this.#emergency };
    return JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  }

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
