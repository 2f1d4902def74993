import { referencesOf, segmentDefinition, segmentName } from '@mlx-serving/policy';
import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import { type Change, type Proof, proved } from '../flags/flag-change.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import { MAX_DEFINITION_LENGTH } from '../snapshot/decode-definition.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { LiveSegment } from '../snapshot/live-segments.ts';

const MAX_SEGMENTS = 1_000;

export interface SegmentChange extends Change {
  /** The revision that the segment must still have; 0 for one that is not there. */
  readonly ifRevision?: bigint | undefined;
}

/** Named users that flags refer to (SPEC F6). */
export class SegmentsService {
  readonly #live: LiveFlags;
  readonly #writer: FlagWriter;
  readonly #rules: ProductionRules;

  constructor(live: LiveFlags, writer: FlagWriter, rules: ProductionRules) {
    this.#live = live;
    this.#writer = writer;
    this.#rules = rules;
  }

  /**
   * Writes a segment.
   * @param fromFile the digest of what the configuration file says of it
   */
  set(name: string, definition: string, change: SegmentChange, fromFile?: string): Promise<{ segment: LiveSegment; proof: Proof }> {
    return proved(this.begin(name, definition, change, fromFile));
  }

  /** The same without waiting for the gateways, so that many changes wait for them together. */
  async begin(name: string, definition: string, change: SegmentChange, fromFile?: string): Promise<{ segment: LiveSegment; proof: Promise<Proof> }> {
    const text = readSegment(name, definition);
    if (fromFile === undefined) this.#rules.assertReason(change);
    if (!this.#find(name) && this.#live.segments.length >= MAX_SEGMENTS) throw errors.SEGMENT_INVALID({ problem: `There are ${MAX_SEGMENTS} segments already.` });
    const base = this.#baseOf(name, change);
    const startedAt = performance.now();
    const { actor, reason } = change;
    const file = fromFile === undefined ? {} : { fileDigest: fromFile };
    // One that another tool has broken holds as it was, but the store has it no more.
    const isBroken = this.#live.undecodable.has(`segment:${name}`);
    const same = this.#find(name)?.text === text && fromFile === undefined && !isBroken;
    const revision = same ? this.#live.storeRevision : await this.#writer.putRecord({ kind: 'segments', id: name, text, actor, reason, ...base, ...file, atMs: Date.now() });
    const proof = this.#writer.prove('segment', revision, startedAt, { name, ...change });
    return { segment: this.#find(name) ?? { name, text, revision }, proof };
  }

  async delete(name: string, change: SegmentChange): Promise<Proof> {
    this.#rules.assertReason(change);
    if (!this.#find(name)) throw errors.SEGMENT_NOT_FOUND({ name });
    const users = this.#live.flags.filter(({ config }) => referencesOf(config).segments.includes(name));
    if (users.length > 0) throw errors.SEGMENT_IN_USE({ name, flags: users.map((flag) => flag.name).join(', ') });
    const base = this.#baseOf(name, change);
    const startedAt = performance.now();
    const { actor, reason } = change;
    const revision = await this.#writer.putRecord({ kind: 'segments', id: name, text: undefined, actor, reason, ...base, atMs: Date.now() });
    return this.#writer.prove('segment', revision, startedAt, { name, ...change });
  }

  /** What the write is built on, where that matters. @throws SEGMENT_REVISION */
  #baseOf(name: string, { ifRevision }: SegmentChange): { base?: { text: string | undefined } } {
    if (ifRevision === undefined) return {};
    const actual = this.#find(name)?.revision ?? 0n;
    if (ifRevision !== actual) throw errors.SEGMENT_REVISION({ name, actual: String(actual) });
    return { base: { text: this.#live.records.segments.get(name) } };
  }

  #find(name: string): LiveSegment | undefined {
    return this.#live.segments.find((segment) => segment.name === name);
  }
}

/** @returns the definition as it is stored. @throws SEGMENT_INVALID */
export function readSegment(name: string, definition: string): string {
  const named = segmentName.safeParse(name);
  if (!named.success) throw errors.SEGMENT_INVALID({ problem: `The name ${named.error.issues[0]?.message ?? 'is not usable'}.` }, { param: 'name' });
  if (definition.length > MAX_DEFINITION_LENGTH) throw errors.SEGMENT_INVALID({ problem: `The definition is longer than ${MAX_DEFINITION_LENGTH} characters.` });
  const parsed = segmentDefinition.safeParse(parseJson(definition));
  if (parsed.success) return JSON.stringify(parsed.data);
  const problem = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'The definition'}: ${issue.message}`).join('; ');
  throw errors.SEGMENT_INVALID({ problem }, { param: 'definition_json' });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
