import { FINE_BUCKETS } from '@mlx-serving/hashing';
import type { EmergencyState, FlagAnswer } from './compiled-flags.ts';
import { matchesRule } from './compile-rule.ts';
import { type CompiledSegment, isInSegment } from './compile-segment.ts';
import type { Trace } from './explanation.ts';
import { ANSWERS } from './flag-answer.ts';
import type { FlagProgram, VariantProgram } from './flag-program.ts';
import { type FlagSlot, isResolvable, MAX_LEVEL } from './flag-slot.ts';

/** What all flags of a set share. */
export interface SharedState {
  emergency: EmergencyState;
  readonly segments: Map<string, CompiledSegment>;
  /** Changes whenever a flag needs others than before. */
  structure: number;
}

/** One question. The same object may ask several flags; each flag is then answered once. */
export interface Question {
  readonly key: string | undefined;
  readonly attributes: unknown;
  /** Different for each evaluation. */
  readonly number: number;
}

/** The order of evaluation (SPEC F4). The trace is filled only for an explanation: it is this code that explains itself. */
export function answerOf(slot: FlagSlot, state: SharedState, question: Question, trace?: Trace): FlagAnswer {
  const program = slot.program;
  if (program === undefined) return ANSWERS.notFound;
  const off = switchedOff(program, state, trace);
  if (off !== undefined) return off;
  if (slot.parent !== undefined || slot.required.length > 0) {
    const missing = prerequisite(slot, state, question, trace);
    if (missing !== undefined) return missing;
  }
  return targeted(program, question, trace) ?? gated(program, state, question, trace) ?? rolledOut(slot, program, question, trace);
}

function switchedOff(program: FlagProgram, { emergency }: SharedState, trace: Trace | undefined): FlagAnswer | undefined {
  trace?.emergency(emergency);
  if (emergency.killSwitch) return ANSWERS.emergency;
  trace?.kill(program);
  if (program.killed) return ANSWERS.killed;
  trace?.enabled(program);
  return program.enabled ? undefined : ANSWERS.disabled;
}

/** The answer of a flag that others need too: the same for all of them. */
export function answerOnce(slot: FlagSlot, state: SharedState, question: Question): FlagAnswer {
  if (slot.answerOf === question.number) return slot.answer!;
  const answer = answerOf(slot, state, question);
  slot.answer = answer;
  slot.answerOf = question.number;
  return answer;
}

function prerequisite(slot: FlagSlot, state: SharedState, question: Question, trace: Trace | undefined): FlagAnswer | undefined {
  const { parent, required } = slot;
  const orphaned = parent !== undefined && parent.program === undefined;
  if (!orphaned && !isResolvable(slot, state.structure)) {
    trace?.unresolvable(slot, MAX_LEVEL);
    return ANSWERS.prerequisiteOff;
  }
  if (parent !== undefined && !isNeededOn('parent', parent, state, question, trace)) return ANSWERS.parentOff;
  for (let i = 0; i < required.length; i++) {
    if (!isNeededOn('requires', required[i]!, state, question, trace)) return ANSWERS.prerequisiteOff;
  }
  return undefined;
}

function isNeededOn(check: 'parent' | 'requires', needed: FlagSlot, state: SharedState, question: Question, trace: Trace | undefined): boolean {
  const answer = answerOnce(needed, state, question);
  trace?.prerequisite(check, needed, answer);
  return answer.enabled;
}

function targeted(program: FlagProgram, question: Question, trace: Trace | undefined): FlagAnswer | undefined {
  const { blacklist, whitelist } = program;
  const { key } = question;
  if (blacklist !== undefined) {
    trace?.list('blacklist', blacklist, key);
    if (key !== undefined && blacklist.has(key)) return ANSWERS.blacklisted;
  }
  if (whitelist !== undefined) {
    trace?.list('whitelist', whitelist, key);
    if (key !== undefined && whitelist.has(key)) return withVariantOf(program.variants, program, key, trace, true);
  }
  if (!program.whitelistOnly) return undefined;
  trace?.whitelistOnly();
  return ANSWERS.notWhitelisted;
}

/** Segments and rules, which must hold besides the share. */
function gated(program: FlagProgram, state: SharedState, { key, attributes }: Question, trace: Trace | undefined): FlagAnswer | undefined {
  const { segments, rules } = program;
  if (segments.length > 0) {
    let found: string | undefined;
    for (let i = 0; i < segments.length && found === undefined; i++) {
      const segment = state.segments.get(segments[i]!);
      if (segment !== undefined && isInSegment(segment, key, attributes)) found = segments[i];
    }
    trace?.segments(segments, found);
    if (found === undefined) return ANSWERS.segmentMismatch;
  }
  for (let i = 0; i < rules.length; i++) {
    const matches = matchesRule(rules[i]!, attributes);
    trace?.rule(rules[i]!.rule, attributes, matches);
    if (!matches) return ANSWERS.ruleMismatch;
  }
  return undefined;
}

function rolledOut(slot: FlagSlot, program: FlagProgram, { key }: Question, trace: Trace | undefined): FlagAnswer {
  const { limit } = program;
  if (limit >= FINE_BUCKETS || limit <= 0) {
    trace?.share(limit);
    return limit <= 0 ? program.answers.out : withVariantOf(program.variants, program, key, trace, false);
  }
  if (key === undefined) {
    trace?.noKey(limit);
    return ANSWERS.noKey;
  }
  const fine = bucketOf(slot, program, key);
  trace?.rollout(fine, limit, program.random);
  return fine < limit ? withVariantOf(program.variants, program, key, trace, false) : program.answers.out;
}

/** A sub-feature shares its parent's bucket unless it has a seed of its own (SPEC F1). */
function bucketOf(slot: FlagSlot, program: FlagProgram, key: string): number {
  if (program.random) return Math.floor(Math.random() * FINE_BUCKETS);
  const parent = program.sharesBucket ? slot.parent?.program : undefined;
  return (parent ?? program).bucketOf(key);
}

/** Without a key nobody can be told apart, so there is a variant only if one has the whole line. */
function withVariantOf(variants: VariantProgram | undefined, program: FlagProgram, key: string | undefined, trace: Trace | undefined, whitelisted: boolean): FlagAnswer {
  if (variants === undefined) return whitelisted ? ANSWERS.whitelisted : program.answers.in;
  const { cuts } = variants;
  const answers = whitelisted ? variants.whitelisted : variants.rolledOut;
  const whole = cuts.indexOf(FINE_BUCKETS);
  if (whole === 0 || cuts[whole - 1] === 0) return answers[whole]!;
  if (key === undefined) {
    trace?.noVariant();
    return program.answers.in;
  }
  const fine = program.random ? Math.floor(Math.random() * FINE_BUCKETS) : variants.bucketOf(key);
  // The last cut is the end of the line.
  let index = 0;
  while (fine >= cuts[index]!) index++;
  trace?.variant(fine, cuts, index, answers[index]!);
  return answers[index]!;
}
