import { segmentDefinition } from '@mlx-serving/policy';
import { z } from 'zod';
import { readText } from '../store/read-text.ts';

/** Named users that flags refer to, as the store has them. */
export interface LiveSegment {
  readonly name: string;
  readonly text: string;
  readonly revision: bigint;
}

/** What was read of one record of the store. */
interface ReadRecord {
  readonly text: string;
  readonly segment: LiveSegment | undefined;
}

const record = z.object({ revision: z.number(), definition: z.string() });

/** The segments in force. One that another tool has written so that it cannot be read stays as it was. */
export class LiveSegments {
  readonly #onUnreadable: (name: string) => void;
  #segments = new Map<string, LiveSegment>();
  /** By name; a record that stays the same is read once. */
  #read = new Map<string, ReadRecord>();

  /** @param onUnreadable called once for each text that cannot be read */
  constructor(onUnreadable: (name: string) => void) {
    this.#onUnreadable = onUnreadable;
  }

  /** Names of segments that cannot be read. */
  get unreadable(): string[] {
    return [...this.#read].filter(([, { segment }]) => !segment).map(([name]) => name);
  }

  /** Sorted by name. */
  get all(): LiveSegment[] {
    return [...this.#segments.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Takes over the records of the store. @returns what changed */
  replace(records: ReadonlyMap<string, string>): { changed: LiveSegment[]; removed: string[] } {
    const former = this.#segments;
    const next = new Map<string, LiveSegment>();
    const read = new Map<string, ReadRecord>();
    for (const [name, text] of records) {
      const before = this.#read.get(name);
      const now = before?.text === text ? before : { text, segment: readSegment(name, text) };
      if (now !== before && !now.segment) this.#onUnreadable(name);
      read.set(name, now);
      const segment = now.segment ?? former.get(name);
      if (segment) next.set(name, segment);
    }
    this.#segments = next;
    this.#read = read;
    const changed = [...next.values()].filter((segment) => former.get(segment.name)?.revision !== segment.revision || former.get(segment.name)?.text !== segment.text);
    return { changed, removed: [...former.keys()].filter((name) => !next.has(name)) };
  }
}

function readSegment(name: string, text: string): LiveSegment | undefined {
  const read = readText(record, text);
  if (!read || !readText(segmentDefinition, read.definition)) return undefined;
  return { name, text: read.definition, revision: BigInt(read.revision) };
}
