import { RE2JS } from 're2js';

/** Longest pattern of a rule, in characters. */
export const MAX_PATTERN_LENGTH = 500;
/** Longest text that a pattern is held against; a longer one never matches. */
export const MAX_MATCHED_LENGTH = 4_096;

/**
 * Compiles a pattern in the syntax of RE2, which needs time in proportion to the text, whatever the pattern (SPEC F5).
 * @returns whether a text holds the pattern anywhere
 * @throws Error when it is not a pattern of RE2, as one with a lookahead or a backreference
 */
export function compilePattern(pattern: string): (text: string) => boolean {
  const compiled = RE2JS.compile(pattern);
  return (text) => text.length <= MAX_MATCHED_LENGTH && compiled.matcher(text).find();
}

/** Why a text is not a pattern; undefined when it is one. */
export function patternProblem(pattern: string): string | undefined {
  try {
    compilePattern(pattern);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
