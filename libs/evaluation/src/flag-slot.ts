import { type FlagConfig, parentOf } from '@mlx-serving/policy';
import type { FlagAnswer, FlagInput } from './compiled-flags.ts';
import { compileFlag, type FlagProgram, isKilled } from './flag-program.ts';

/** Longest chain of flags that need one another. */
export const MAX_LEVEL = 64;

/** The place of one name: it stays while its flag changes, so that others can hold on to it. */
export interface FlagSlot {
  readonly name: string;
  /** Absent while there is no such flag. */
  program: FlagProgram | undefined;
  /** What the program was compiled from. */
  config: FlagConfig | undefined;
  parent: FlagSlot | undefined;
  required: readonly FlagSlot[];
  /** Levels of other flags under this one; infinite in a circle and above one. Holds for one structure of the set. */
  level: number;
  levelOf: number;
  /** The answer within one evaluation of several flags. */
  answer: FlagAnswer | undefined;
  answerOf: number;
  enabledCount: number;
  disabledCount: number;
}

export function createSlot(name: string): FlagSlot {
  return { name, program: undefined, config: undefined, parent: undefined, required: [], level: 0, levelOf: -1, answer: undefined, answerOf: -1, enabledCount: 0, disabledCount: 0 };
}

/**
 * Puts a flag into its slot. The same definition is not compiled again: a kill and its lifting change one field alone.
 * @returns whether it needs other flags than before
 */
export function fillSlot(slot: FlagSlot, flag: FlagInput, slotOf: (name: string) => FlagSlot): boolean {
  const isNew = slot.program === undefined;
  if (slot.program !== undefined && slot.config === flag.config) {
    slot.program.killed = isKilled(flag);
    return false;
  }
  slot.program = compileFlag(flag);
  slot.config = flag.config;
  const parent = parentOf(flag.name);
  const required = flag.config.requires;
  if (!isNew && required.length === slot.required.length && required.every((name, index) => slot.required[index]!.name === name)) return false;
  slot.parent = parent === undefined ? undefined : slotOf(parent);
  slot.required = required.map(slotOf);
  return true;
}

export function clearSlot(slot: FlagSlot): void {
  slot.program = undefined;
  slot.config = undefined;
  slot.parent = undefined;
  slot.required = [];
}

/**
 * Whether the flags under a flag form no circle, and no chain that is longer than 64.
 * @param structure changes whenever any flag needs others than before
 */
export function isResolvable(slot: FlagSlot, structure: number): boolean {
  if (slot.levelOf !== structure) measureLevel(slot, structure);
  return slot.level <= MAX_LEVEL;
}

function neededBy(slot: FlagSlot): readonly FlagSlot[] {
  return slot.parent === undefined ? slot.required : [slot.parent, ...slot.required];
}

/** Its own stack: a chain of requirements may be longer than the call stack is deep. */
function measureLevel(start: FlagSlot, structure: number): void {
  const open = (slot: FlagSlot) => {
    slot.levelOf = structure;
    // Whoever meets it before it is measured stands in a circle with it.
    slot.level = Number.POSITIVE_INFINITY;
    return { slot, needed: neededBy(slot), next: 0, level: 0 };
  };
  const trail = [open(start)];
  for (let last = trail.at(-1); last; last = trail.at(-1)) {
    const needed = last.needed[last.next];
    if (needed === undefined) {
      last.slot.level = last.level;
      trail.pop();
    } else if (needed.levelOf !== structure) {
      trail.push(open(needed));
    } else {
      last.level = Math.max(last.level, needed.level + 1);
      last.next++;
    }
  }
}
