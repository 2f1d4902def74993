import type { SegmentDefinition } from '@mlx-serving/policy';
import { type CompiledRule, compileRule, matchesRule } from './compile-rule.ts';

/** A segment that is ready to be asked. */
export interface CompiledSegment {
  readonly included: ReadonlySet<string>;
  readonly excluded: ReadonlySet<string>;
  readonly rules: readonly CompiledRule[];
}

export function compileSegment({ includedKeys, excludedKeys, rules }: SegmentDefinition): CompiledSegment {
  return { included: new Set(includedKeys), excluded: new Set(excludedKeys), rules: rules.map(compileRule) };
}

/** Whether somebody is in a segment: excluded keys never, included keys always, others when all of its rules match (SPEC F6). */
export function isInSegment({ included, excluded, rules }: CompiledSegment, key: string | undefined, attributes: unknown): boolean {
  if (key !== undefined) {
    if (excluded.has(key)) return false;
    if (included.has(key)) return true;
  }
  return rules.length > 0 && rules.every((rule) => matchesRule(rule, attributes));
}
