import { FINE_BUCKETS } from '@mlx-serving/hashing';
import type { FlagRule } from '@mlx-serving/policy';
import type { EmergencyState, ExplanationStep, FlagAnswer } from './compiled-flags.ts';
import type { FlagProgram } from './flag-program.ts';
import type { FlagSlot } from './flag-slot.ts';

const MAX_SHOWN = 80;
const yes = (holds: boolean): string => (holds ? 'yes' : 'no');

/** Takes the steps of one evaluation down, with what was compared. */
export class Trace {
  readonly steps: ExplanationStep[] = [];

  emergency({ killSwitch }: EmergencyState): void {
    this.#add('emergency', `kill switch of everything? ${yes(killSwitch)}`);
  }

  kill({ killed }: FlagProgram): void {
    this.#add('kill', `killed? ${yes(killed)}`);
  }

  enabled({ enabled }: FlagProgram): void {
    this.#add('enabled', `enabled? ${yes(enabled)}`);
  }

  prerequisite(check: 'parent' | 'requires', { name }: FlagSlot, { enabled, reason }: FlagAnswer): void {
    this.#add(check, `${name} is on? ${yes(enabled)} (${reason})`);
  }

  unresolvable({ level }: FlagSlot, most: number): void {
    this.#add('requires', Number.isFinite(level) ? `${level} levels of flags under it <= ${most}? no` : 'no circle under it? no');
  }

  list(check: 'blacklist' | 'whitelist', list: ReadonlySet<string>, key: string | undefined): void {
    this.#add(check, key === undefined ? `no key, ${list.size} on the ${check}` : `key ${show(key)} is on the ${check} of ${list.size}? ${yes(list.has(key))}`);
  }

  whitelistOnly(): void {
    this.#add('whitelistOnly', 'only the whitelist is on, and the key is not on it');
  }

  segments(names: readonly string[], found: string | undefined): void {
    this.#add('segments', `in a segment of ${names.join(', ')}? ${found === undefined ? 'no' : `yes, ${found}`}`);
  }

  rule({ attribute, operator, value }: FlagRule, attributes: unknown, matches: boolean): void {
    this.#add('rule', `${attribute} ${shownAttribute(attributes, attribute)} ${operator} ${show(value)}? ${yes(matches)}`);
  }

  share(limit: number): void {
    this.#add('rollout', limit <= 0 ? '0 %: nobody' : '100 %: everybody');
  }

  noKey(limit: number): void {
    this.#add('rollout', `no key, and only ${limit / 1000} % of the keys are in`);
  }

  rollout(fine: number, limit: number, random: boolean): void {
    this.#add('rollout', `${random ? 'drawn' : 'fine'}=${fine} < ${limit}? ${yes(fine < limit)}`);
  }

  noVariant(): void {
    this.#add('variant', 'no key, so no variant');
  }

  variant(fine: number, cuts: readonly number[], index: number, { variant }: FlagAnswer): void {
    this.#add('variant', `${index === 0 ? 0 : cuts[index - 1]} <= fine=${fine} < ${cuts[index] ?? FINE_BUCKETS}: ${variant}`);
  }

  #add(check: ExplanationStep['check'], detail: string): void {
    this.steps.push({ check, detail });
  }
}

function shownAttribute(attributes: unknown, name: string): string {
  try {
    if (typeof attributes !== 'object' || attributes === null || !Object.hasOwn(attributes, name)) return '(missing)';
    return show((attributes as Record<string, unknown>)[name]);
  } catch {
    return '(unreadable)';
  }
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
