import { create } from '@bufbuild/protobuf';
import { type Emergency, EmergencySchema, type Flag, type FlagDelta, type FlagSnapshot, FlagSnapshotSchema, type Segment } from '@mlx-serving/contracts';
import { type FlagInput, FlagSet, type SegmentInput } from '@mlx-serving/evaluation';
import { DEFAULT_ENVIRONMENT, type FlagConfig, flagConfig, flagInEnvironment, type SegmentDefinition, segmentDefinition } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { FlagState } from './decide.ts';

const NO_EMERGENCY = create(EmergencySchema);

interface HeldFlag {
  readonly flag: Flag;
  /** As it holds in this environment. */
  readonly config: FlagConfig;
}

interface HeldSegment {
  readonly segment: Segment;
  readonly definition: SegmentDefinition;
}

export interface FlagSnapshotStoreOptions {
  /** Whose values hold (SPEC F9). Default: `development`. */
  readonly environment?: string;
  /** Called with the flags that were killed just now and whose kill ends what runs under them (SPEC F19). */
  readonly onAbort?: (flags: ReadonlySet<string>) => void;
}

/**
 * The flags that hold now. What changes is compiled, and only that; a question finds either all of a change or nothing of it.
 * A definition that cannot be read is reported, and the last good one of that flag stays; its kill holds all the same.
 */
export class FlagSnapshotStore {
  readonly #logger: Logger;
  readonly #options: FlagSnapshotStoreOptions;
  readonly #flags = new FlagSet();
  readonly #held = new Map<string, HeldFlag>();
  readonly #segments = new Map<string, HeldSegment>();
  #emergency: Emergency = NO_EMERGENCY;
  #takenAtMs = 0n;
  #seen = false;
  #state: FlagState = { revision: 0n, flags: this.#flags, rollbackToBaseline: false };

  constructor(logger: Logger, options: FlagSnapshotStoreOptions = {}) {
    this.#logger = logger;
    this.#options = options;
  }

  get state(): FlagState {
    return this.#state;
  }

  /** The same flags with everything that can be asked of them. */
  get flags(): FlagSet {
    return this.#flags;
  }

  get revision(): bigint {
    return this.#state.revision;
  }

  /** Whose values hold. */
  get environment(): string {
    return this.#options.environment ?? DEFAULT_ENVIRONMENT;
  }

  /** False until the first snapshot came, from the link or from the disk. Until then every flag is off. */
  get seen(): boolean {
    return this.#seen;
  }

  /** Milliseconds since the snapshot was taken from the store. Null before the first one. */
  ageMs(now: number): number | null {
    return this.#seen ? Math.max(0, now - Number(this.#takenAtMs)) : null;
  }

  /** Takes everything over; what is the same as before is left as it is. */
  apply(snapshot: FlagSnapshot): void {
    const named = new Set(snapshot.flags.map(({ name }) => name));
    const segments = new Set(snapshot.segments.map(({ name }) => name));
    this.#take(
      {
        changed: snapshot.flags.filter((flag) => !isSame(this.#held.get(flag.name)?.flag, flag)),
        removed: [...this.#held.keys()].filter((name) => !named.has(name)),
        changedSegments: snapshot.segments.filter(({ name, definitionJson }) => this.#segments.get(name)?.segment.definitionJson !== definitionJson),
        removedSegments: [...this.#segments.keys()].filter((name) => !segments.has(name)),
        emergency: snapshot.emergency ?? NO_EMERGENCY,
      },
      snapshot.revision,
      snapshot.takenAtMs,
    );
  }

  /** @returns false when the delta does not follow what is held: a full snapshot is needed then */
  applyDelta(delta: FlagDelta, now: number): boolean {
    if (!this.#seen || delta.baseRevision !== this.#state.revision) return false;
    this.#take(delta, delta.revision, BigInt(now));
    return true;
  }

  /** What is held, as it is kept on disk. */
  toSnapshot(): FlagSnapshot {
    const flags = [...this.#held.values()].map(({ flag }) => flag);
    const segments = [...this.#segments.values()].map(({ segment }) => segment);
    // Already messages, so they are put in as they are: creating them anew would cost more than the change itself.
    return Object.assign(create(FlagSnapshotSchema, { revision: this.#state.revision, takenAtMs: this.#takenAtMs }), { flags, segments, emergency: this.#emergency });
  }

  #take(change: Pick<FlagDelta, 'changed' | 'removed' | 'changedSegments' | 'removedSegments'> & { emergency?: Emergency | undefined }, revision: bigint, takenAtMs: bigint): void {
    const emergency = change.emergency ?? this.#emergency;
    const formers = change.changed.map(({ name }) => this.#held.get(name));
    for (const name of change.removed) this.#held.delete(name);
    for (const name of change.removedSegments) this.#segments.delete(name);
    const changed = change.changed.flatMap((flag) => this.#hold(flag) ?? []);
    const changedSegments = change.changedSegments.flatMap((segment) => this.#holdSegment(segment) ?? []);
    this.#flags.apply({ changed, removed: change.removed, changedSegments, removedSegments: change.removedSegments, emergency });
    const aborted = emergency.killSwitch && !this.#emergency.killSwitch ? this.#abortable() : this.#abortedSince(formers);
    this.#emergency = emergency;
    this.#takenAtMs = takenAtMs;
    this.#seen = true;
    this.#state = { revision, flags: this.#flags, rollbackToBaseline: emergency.rollbackToBaseline };
    if (aborted.size > 0) this.#options.onAbort?.(aborted);
  }

  #hold(flag: Flag): FlagInput | undefined {
    const former = this.#held.get(flag.name);
    const config = former?.flag.definitionJson === flag.definitionJson ? former.config : this.#readDefinition(flag.definitionJson);
    if (!config) this.#logger.warn({ flag: flag.name, revision: String(flag.revision), kept: former !== undefined }, 'a flag cannot be read');
    const held = config ? { flag, config } : former && { flag: { ...flag, definitionJson: former.flag.definitionJson }, config: former.config };
    if (!held) return undefined;
    this.#held.set(flag.name, held);
    return { name: flag.name, config: held.config, killed: flag.kill !== undefined };
  }

  #holdSegment(segment: Segment): SegmentInput | undefined {
    const parsed = readJson(segment.definitionJson, segmentDefinition);
    if (!parsed) {
      this.#logger.warn({ segment: segment.name, revision: String(segment.revision), kept: this.#segments.has(segment.name) }, 'a segment cannot be read');
      return undefined;
    }
    this.#segments.set(segment.name, { segment, definition: parsed });
    return { name: segment.name, definition: parsed };
  }

  #readDefinition(text: string): FlagConfig | undefined {
    const config = readJson(text, flagConfig);
    return config && flagInEnvironment(config, this.environment);
  }

  #abortable(): Set<string> {
    return new Set([...this.#held.values()].filter(({ config }) => config.abortInFlight).map(({ flag }) => flag.name));
  }

  /** Flags that are killed now and were not before, by the latch or by the `killSwitch` of their definition. */
  #abortedSince(formers: readonly (HeldFlag | undefined)[]): Set<string> {
    const aborted = new Set<string>();
    for (const former of formers) {
      const now = former && !isKilled(former) ? this.#held.get(former.flag.name) : undefined;
      if (now && isKilled(now) && (now.config.abortInFlight || former?.config.abortInFlight)) aborted.add(now.flag.name);
    }
    return aborted;
  }
}

function isKilled({ flag, config }: HeldFlag): boolean {
  return flag.kill !== undefined || config.killSwitch;
}

function isSame(former: Flag | undefined, flag: Flag): boolean {
  return former !== undefined && former.definitionJson === flag.definitionJson && (former.kill === undefined) === (flag.kill === undefined) && former.revision === flag.revision;
}

function readJson<T>(text: string, schema: { parse(value: unknown): T }): T | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
