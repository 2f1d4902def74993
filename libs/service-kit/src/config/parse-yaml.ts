import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { ConfigError, type ConfigIssue } from './config-error.ts';

/** Largest configuration text, in characters. */
const MAX_LENGTH = 1024 * 1024;

/** A check that needs the whole value, such as a cycle between flags: it names the path at fault. */
export type CrossCheck<T> = (value: T) => readonly { path: readonly PropertyKey[]; message: string }[];

/**
 * Parses YAML text against a schema. The result is frozen all the way down.
 * @throws ConfigError with every problem at once, each with its line and column
 */
export function parseYaml<S extends z.ZodType>(file: string, text: string, schema: S, crossCheck?: CrossCheck<z.output<S>>): z.output<S> {
  if (text.length > MAX_LENGTH) throw new ConfigError(file, [{ line: 1, column: 1, path: '', message: `The file is larger than ${MAX_LENGTH} characters.` }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => ({ ...position(lines, error.pos[0]), path: '', message: error.message.split('\n', 1)[0] ?? error.code })),
    );
  }
  const parsed = schema.safeParse(toValue(file, document) ?? {});
  if (!parsed.success) throw new ConfigError(file, parsed.error.issues.flatMap((issue) => toIssues(document, lines, issue)));
  const crossed = (crossCheck?.(parsed.data) ?? []).map((issue) => ({ ...locate(document, lines, issue.path), path: issue.path.join('.'), message: issue.message }));
  if (crossed.length > 0) throw new ConfigError(file, crossed);
  return deepFreeze(parsed.data);
}

/** @throws ConfigError for an alias without its anchor, and for aliases that would unfold without end */
function toValue(file: string, document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new ConfigError(file, [{ line: 1, column: 1, path: '', message: error instanceof Error ? error.message : String(error) }]);
  }
}

function toIssues(document: Document, lines: LineCounter, issue: z.core.$ZodIssue): ConfigIssue[] {
  if (issue.code !== 'unrecognized_keys') return [{ ...locate(document, lines, issue.path), path: issue.path.join('.'), message: issue.message }];
  return issue.keys.map((key) => {
    const path = [...issue.path, key];
    return { ...locateKey(document, lines, path), path: path.join('.'), message: 'There is no such setting.' };
  });
}

/** Where the value at a path stands, or, for a missing value, its nearest parent. */
function locate(document: Document, lines: LineCounter, path: readonly PropertyKey[]): { line: number; column: number } {
  for (let depth = path.length; depth >= 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return position(lines, node.range[0]);
  }
  return { line: 1, column: 1 };
}

/** Where the key of a path stands, for a key that should not be there. */
function locateKey(document: Document, lines: LineCounter, path: readonly PropertyKey[]): { line: number; column: number } {
  const parent = document.getIn(path.slice(0, -1), true);
  const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && String(item.key.value) === path.at(-1)) : undefined;
  return pair && isNode(pair.key) && pair.key.range ? position(lines, pair.key.range[0]) : locate(document, lines, path);
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
