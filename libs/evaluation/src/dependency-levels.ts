import { type FlagConfig, parentOf } from '@mlx-serving/policy';

/** Longest chain of flags that need one another. */
const MAX_LEVEL = 64;

/**
 * How many levels of other flags stand under each flag, its parent and its required flags.
 * Flags in a circle, above one, or above a chain that is longer than 64 have no level; they are off.
 */
export function dependencyLevels(flags: ReadonlyMap<string, { readonly config: FlagConfig }>): Map<string, number> {
  const dependents = new Map<string, string[]>();
  const open = new Map<string, number>();
  for (const [name, { config }] of flags) {
    const parent = parentOf(name);
    const needed = new Set([...(parent === undefined ? [] : [parent]), ...config.requires].filter((other) => flags.has(other)));
    open.set(name, needed.size);
    for (const other of needed) {
      const names = dependents.get(other);
      if (names) names.push(name);
      else dependents.set(other, [name]);
    }
  }
  const levels = new Map<string, number>();
  let ready = [...open].filter(([, count]) => count === 0).map(([name]) => name);
  for (let level = 0; ready.length > 0 && level <= MAX_LEVEL; level++) {
    const next: string[] = [];
    for (const name of ready) {
      levels.set(name, level);
      for (const dependent of dependents.get(name) ?? []) {
        const rest = open.get(dependent)! - 1;
        open.set(dependent, rest);
        if (rest === 0) next.push(dependent);
      }
    }
    ready = next;
  }
  return levels;
}
