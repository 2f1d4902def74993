import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { FeatureFlagLoader } from './index.ts';

interface Example {
  yaml: string;
  code: string;
}

const text = readFileSync(new URL('../../../docs/flags.md', import.meta.url), 'utf8');
const blocks = [...text.matchAll(/^```(yaml|ts)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({ language, code }));
const examples: Example[] = blocks.flatMap(({ language, code }, index) => (language === 'ts' ? [{ yaml: blocks[index - 1]!.code, code }] : []));
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'flags-document-'));
  mkdirSync(join(directory, 'config'));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Each line that says what it gives becomes a pair of both. */
function run({ yaml, code }: Example): [line: string, given: unknown, expected: unknown][] {
  writeFileSync(join(directory, 'config', 'feature-flags.yaml'), yaml);
  const pairs: [string, unknown, unknown][] = [];
  const script = code.replace(/^(.*); \/\/ => (.*)$/gm, (_, expression: string, expected: string) => `check(${JSON.stringify(expression)}, ${expression}, ${expected});`);
  class LoaderHere extends FeatureFlagLoader {
    constructor(path: string, options = {}) {
      super(join(directory, path), options);
    }
  }
  runInNewContext(script, { FeatureFlagLoader: LoaderHere, check: (...pair: [string, unknown, unknown]) => pairs.push(pair) });
  return pairs;
}

describe('docs/flags.md', () => {
  it('has an example for each file that it shows', () => {
    expect(blocks.map(({ language }) => language)).toEqual(examples.flatMap(() => ['yaml', 'ts']));
  });

  it.each(examples.map((example, index) => ({ index, ...example })))('example $index gives what it says', (example) => {
    const pairs = run(example);
    expect(pairs.length).toBeGreaterThan(2);
    for (const [line, given, expected] of pairs) expect([line, given]).toEqual([line, expected]);
  });
});
