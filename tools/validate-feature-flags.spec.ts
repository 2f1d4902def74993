import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from '@jest/globals';
import { featureFlagsProblems } from './validate-feature-flags.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'validate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function validate(...args: string[]): Promise<{ code: number | string; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['tools/validate-feature-flags.ts', ...args], { cwd: root }, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
  });
}

const problems = (text: string): string[] => featureFlagsProblems('f.yaml', text).map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`);

describe('the validator of feature flags', () => {
  it('prints four lines for the file that ships', async () => {
    const { code, stdout, stderr } = await validate('config/feature-flags.yaml');
    expect(stdout).toBe('✓ Configuration valid\n✓ All rollout percentages in range [0, 100]\n✓ All hash seeds present\n✓ No circular dependencies\n');
    expect([code, stderr.includes('Error')]).toEqual([0, false]);
  });

  it('needs no package of the workspace, so no build', async () => {
    const refuse = 'data:text/javascript,import{registerHooks}from"node:module";registerHooks({resolve(name,context,next){if(name.startsWith("@mlx-serving/"))throw new Error("It needs "+name);return next(name,context)}})';
    const run = promisify(execFile)(process.execPath, ['--import', refuse, 'tools/validate-feature-flags.ts', 'config/feature-flags.yaml'], { cwd: root });
    expect((await run).stdout).toContain('✓ Configuration valid');
  });

  it('shows every problem at once, with line and column, and ends with 1', async () => {
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, ['alpha:', '  enabled: maybe', '  rollout_percentage: 150', 'beta:', '  enabled: true', 'gamma:', '  enabled: true', '  hash_seed: g', '  requires: [gamma, nowhere]', ''].join('\n'));
    const { code, stdout, stderr } = await validate(file);
    const lines = stderr.split('\n').filter((line) => line.startsWith(file));
    expect(lines.map((line) => line.slice(file.length).split(' ', 2).join(' '))).toEqual([
      ...[':2:3 alpha:', ':2:12 alpha.enabled:', ':3:23 alpha.rollout_percentage:', ':5:3 beta:'],
      ...[':9:13 gamma.requires:', ':9:13 gamma.requires:'],
    ]);
    expect([code, stdout]).toEqual([1, '']);
  });

  it('names steps that are too fine, unknown settings, bad names and both spellings of the percentage', () => {
    const text = [
      'alpha: { enabled: true, hash_seed: a, rollout_percentage: 0.0001 }',
      'beta: { enabled: true, hash_seed: b, rollout_percentage: 1, percentage: 2 }',
      '"no name": { enabled: true, hash_seed: n }',
      'emergency: { killswitch: true }',
    ].join('\n');
    expect(problems(text)).toEqual([
      expect.stringContaining('1:59 alpha.rollout_percentage: must have at most three decimals'),
      expect.stringContaining('beta.percentage: percentage is an alias'),
      expect.stringContaining('no name: The name must be'),
      '4:14 emergency.killswitch: There is no such setting.',
    ]);
  });

  it('finds circles, those through a parent included', () => {
    expect(problems('a: { enabled: true, hash_seed: a, requires: [b] }\nb: { enabled: true, hash_seed: b, requires: [a] }')[0]).toContain('circle: a → b → a');
    expect(problems('a: { enabled: true, hash_seed: a, requires: [a.b], b: { enabled: true } }')[0]).toContain('circle');
  });

  it('points at broken YAML', () => {
    expect(problems('a: [1')[0]).toMatch(/^1:\d+ /);
  });

  it('says that a file cannot be read, and how it is called', async () => {
    expect(await validate(join(folder, 'none.yaml'))).toMatchObject({ code: 1, stderr: expect.stringContaining('none.yaml:1:1 The file cannot be read (ENOENT).') });
    expect(await validate()).toMatchObject({ code: 2, stderr: expect.stringContaining('Usage:') });
    expect(await validate('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage:') });
  });
});
