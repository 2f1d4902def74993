import { create } from '@bufbuild/protobuf';
import { type Emergency, EmergencySchema, type Flag, type FlagDelta, type FlagSnapshot, FlagSnapshotSchema } from '@mlx-serving/contracts';
import { compileFlags } from '@mlx-serving/evaluation';
import { type FlagConfig, flagConfig } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { FlagState } from './decide.ts';

const NO_EMERGENCY = create(EmergencySchema);

interface HeldFlag {
  readonly flag: Flag;
  readonly config: FlagConfig;
}

/**
 * The flags that hold now. They are compiled once for each revision, and the whole is swapped at once.
 * A definition that cannot be read is reported, and the last good one of that flag stays; its kill holds all the same.
 */
export class FlagSnapshotStore {
  readonly #logger: Logger;
  #held = new Map<string, HeldFlag>();
  #emergency: Emergency = NO_EMERGENCY;
  #takenAtMs = 0n;
  #seen = false;
  #state: FlagState = { revision: 0n, flags: compile([], NO_EMERGENCY), rollbackToBaseline: false };

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get state(): FlagState {
    return this.#state;
  }

  /** False until the first snapshot came, from the link or from the disk. Until then every flag is off. */
  get seen(): boolean {
    return this.#seen;
  }

  /** Milliseconds since the snapshot was taken from the store. Null before the first one. */
  ageMs(now: number): number | null {
    return this.#seen ? Math.max(0, now - Number(this.#takenAtMs)) : null;
  }

  apply(snapshot: FlagSnapshot): void {
    const held = new Map<string, HeldFlag>();
    for (const flag of snapshot.flags) this.#hold(held, flag);
    this.#swap(held, snapshot.emergency ?? NO_EMERGENCY, snapshot.revision, snapshot.takenAtMs);
  }

  /** @returns false when the delta does not follow what is held: a full snapshot is needed then */
  applyDelta(delta: FlagDelta, now: number): boolean {
    if (!this.#seen || delta.baseRevision !== this.#state.revision) return false;
    const held = new Map(this.#held);
    for (const name of delta.removed) held.delete(name);
    for (const flag of delta.changed) this.#hold(held, flag);
    this.#swap(held, delta.emergency ?? this.#emergency, delta.revision, BigInt(now));
    return true;
  }

  /** What is held, as it is kept on disk. */
  toSnapshot(): FlagSnapshot {
    const flags = [...this.#held.values()].map(({ flag }) => flag);
    return create(FlagSnapshotSchema, { revision: this.#state.revision, flags, emergency: this.#emergency, takenAtMs: this.#takenAtMs });
  }

  #hold(held: Map<string, HeldFlag>, flag: Flag): void {
    const config = readDefinition(flag.definitionJson);
    if (config) {
      held.set(flag.name, { flag, config });
      return;
    }
    const former = this.#held.get(flag.name);
    this.#logger.warn({ flag: flag.name, revision: String(flag.revision), kept: former !== undefined }, 'a flag cannot be read');
    if (former) held.set(flag.name, { flag: { ...flag, definitionJson: former.flag.definitionJson }, config: former.config });
  }

  #swap(held: Map<string, HeldFlag>, emergency: Emergency, revision: bigint, takenAtMs: bigint): void {
    const flags = compile(held.values(), emergency);
    this.#held = held;
    this.#emergency = emergency;
    this.#takenAtMs = takenAtMs;
    this.#seen = true;
    this.#state = { revision, flags, rollbackToBaseline: emergency.rollbackToBaseline };
  }
}

function compile(held: Iterable<HeldFlag>, { killSwitch, rollbackToBaseline }: Emergency): FlagState['flags'] {
  const flags = [...held].map(({ flag, config }) => ({ name: flag.name, config, killed: flag.kill !== undefined || config.killSwitch }));
  return compileFlags({ flags, emergency: { killSwitch, rollbackToBaseline } });
}

function readDefinition(text: string): FlagConfig | undefined {
  try {
    return flagConfig.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
