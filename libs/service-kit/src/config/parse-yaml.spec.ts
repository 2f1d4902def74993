import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { ConfigError, type ConfigIssue } from './config-error.ts';
import { type CrossCheck, parseYaml } from './parse-yaml.ts';

const schema = z.strictObject({
  name: z.string(),
  limit: z.number().int().max(10).optional(),
  nested: z.strictObject({ items: z.array(z.strictObject({ id: z.string() })).optional() }).optional(),
});

function issuesOf(text: string, crossCheck?: CrossCheck<z.infer<typeof schema>>): readonly ConfigIssue[] {
  try {
    parseYaml('x.yaml', text, schema, crossCheck);
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
  return [];
}

const at = (issue: ConfigIssue | undefined): string => (issue ? `${issue.line}:${issue.column} ${issue.path}` : 'none');

describe('parseYaml', () => {
  it('answers a value that is frozen all the way down', () => {
    const value = parseYaml('x.yaml', 'name: a\nnested:\n  items:\n    - id: b\n', schema);
    expect(value).toEqual({ name: 'a', nested: { items: [{ id: 'b' }] } });
    expect([value, value.nested, value.nested?.items, value.nested?.items?.[0]].every(Object.isFrozen)).toBe(true);
  });

  it.each([
    ['a wrong type', 'name: a\nlimit: many\n', '2:8 limit'],
    ['a value beyond its bound', 'name: a\nlimit: 11\n', '2:8 limit'],
    ['a setting that does not exist, at its key', 'name: a\nlimmit: 1\n', '2:1 limmit'],
    ['a nested setting that does not exist, at its key', 'name: a\nnested:\n  wrong:\n    deep: 1\n', '3:3 nested.wrong'],
    ['a missing setting, at its parent', 'name: a\nnested:\n  items:\n    - id: b\n    - {}\n', '5:7 nested.items.1.id'],
    ['a wrong item of a list', 'name: a\nnested:\n  items:\n    - id: 5\n', '4:11 nested.items.0.id'],
    ['a value that came in through an alias, at the alias', 'name: &n a\nlimit: *n\n', '2:8 limit'],
    ['a file that is no map', '- a\n', '1:1 '],
    ['an empty file', '', '1:1 name'],
    ['a key given twice', 'name: a\nname: b\n', '2:1 '],
    ['broken indentation', 'name: a\n  limit: 1\n', '1:7 '],
    ['an unclosed quote', 'name: "a\n', '2:1 '],
    ['a second document', 'name: a\n---\nname: b\n', '2:1 '],
    ['an alias without its anchor', 'name: *nobody\n', '1:1 '],
  ])('says line and column of %s', (_, text, expected) => {
    expect(issuesOf(text).map(at)).toContain(expected);
  });

  it('reports everything that is wrong at once, one line each', () => {
    expect(() => parseYaml('x.yaml', 'limit: many\nextra: 1\nnested: 3\n', schema)).toThrow(
      /^x\.yaml:1:1 name: .+\nx\.yaml:1:8 limit: .+\nx\.yaml:3:9 nested: .+\nx\.yaml:2:1 extra: There is no such setting\.$/,
    );
  });

  it('refuses aliases that unfold without end', () => {
    const levels = Array.from({ length: 12 }, (_, level) => `l${level}: &l${level} [${level === 0 ? '"x"' : Array(9).fill(`*l${level - 1}`).join(', ')}]`);
    expect(issuesOf(levels.join('\n'))).toEqual([{ line: 1, column: 1, path: '', message: expect.stringMatching(/alias/i) }]);
  });

  it('refuses a file beyond its bound before it parses it', () => {
    expect(issuesOf(`name: ${'a'.repeat(1024 * 1024)}`)).toEqual([{ line: 1, column: 1, path: '', message: 'The file is larger than 1048576 characters.' }]);
  });

  it('refuses a file that is nested deeper than anyone writes', () => {
    expect(issuesOf(`name: ${'['.repeat(20_000)}`).length).toBeGreaterThan(0);
  });

  it('does not let a key change the prototype of objects', () => {
    expect(issuesOf('name: a\n__proto__:\n  polluted: true\n')).not.toEqual([]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('places what a cross check found, and only asks it about a valid value', () => {
    const check: CrossCheck<z.infer<typeof schema>> = (value) => (value.name === 'bad' ? [{ path: ['nested', 'items', 1, 'id'], message: 'no' }] : []);
    expect(issuesOf('name: bad\nnested:\n  items:\n    - id: a\n    - id: b\n', check)).toEqual([{ line: 5, column: 11, path: 'nested.items.1.id', message: 'no' }]);
    expect(issuesOf('name: good\n', check)).toEqual([]);
    expect(issuesOf('name: 1\n', () => Promise.reject(new Error('must not be called')) as never).map(at)).toEqual(['1:7 name']);
  });
});
