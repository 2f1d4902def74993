import { z } from 'zod';

/** Named users that flags refer to, as the store has them. */
export interface LiveSegment {
  readonly name: string;
  readonly text: string;
  readonly revision: bigint;
}

const record = z.object({ revision: z.number(), definition: z.string() });

/** The segments in force. */
export class LiveSegments {
  #segments = new Map<string, LiveSegment>();

  /** Sorted by name. */
  get all(): LiveSegment[] {
    return [...this.#segments.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Takes over the records of the store. @returns what changed */
  replace(records: ReadonlyMap<string, string>): { changed: LiveSegment[]; removed: string[] } {
    const former = this.#segments;
    const next = new Map<string, LiveSegment>();
    for (const [name, text] of records) {
      const segment = readSegment(name, text) ?? former.get(name);
      if (segment) next.set(name, segment);
    }
    this.#segments = next;
    const changed = [...next.values()].filter((segment) => former.get(segment.name)?.revision !== segment.revision || former.get(segment.name)?.text !== segment.text);
    return { changed, removed: [...former.keys()].filter((name) => !next.has(name)) };
  }
}

function readSegment(name: string, text: string): LiveSegment | undefined {
  try {
    const { revision, definition } = record.parse(JSON.parse(text));
    return { name, text: definition, revision: BigInt(revision) };
  } catch {
    return undefined;
  }
}
