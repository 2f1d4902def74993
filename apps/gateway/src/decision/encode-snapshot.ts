import { setImmediate as nextTurn } from 'node:timers/promises';
import { create, toJsonString } from '@bufbuild/protobuf';
import { type Flag, FlagSchema, type FlagSnapshot, FlagSnapshotSchema } from '@mlx-serving/contracts';

/** Flags that are encoded before other work gets its turn. */
const SLICE = 16;

/** The text of each flag. A flag that stays the same is encoded once. */
const texts = new WeakMap<Flag, string>();

/** A snapshot as JSON of protobuf, made in slices: a thousand flags at once would hold requests up for milliseconds. */
export async function encodeSnapshot(snapshot: FlagSnapshot): Promise<string> {
  const flags: string[] = [];
  let fresh = 0;
  for (const flag of snapshot.flags) {
    const known = texts.get(flag);
    if (known === undefined && ++fresh % SLICE === 0) await nextTurn();
    const text = known ?? toJsonString(FlagSchema, flag);
    if (known === undefined) texts.set(flag, text);
    flags.push(text);
  }
  const rest = toJsonString(FlagSnapshotSchema, Object.assign(create(FlagSnapshotSchema), snapshot, { flags: [] }));
  return flags.length === 0 ? rest : `{"flags":[${flags.join(',')}]${rest === '{}' ? '' : `,${rest.slice(1, -1)}`}}`;
}
