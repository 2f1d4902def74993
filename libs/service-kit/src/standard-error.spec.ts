import { describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('./standard-error.ts', import.meta.url));

function run(script: string): string {
  const args = ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', `import { standardError } from ${JSON.stringify(source)}; const out = standardError(); ${script}`];
  return spawnSync(process.execPath, args, { encoding: 'utf8' }).stderr;
}

describe('standard error in pieces', () => {
  it('has everything at the exit, in order, also when the process ends itself at once', () => {
    const lines = Array.from({ length: 500 }, (_, index) => `line ${index}\n`).join('');
    expect(run("for (let index = 0; index < 500; index++) out.write(`line ${index}\\n`); process.exit(3);")).toBe(lines);
  });

  it('has what was written before a fault that ends the process', () => {
    expect(run("out.write('before\\n'); throw new Error('fault');")).toContain('before\n');
  });

  it('does not keep a process alive, and is written soon while it lives', () => {
    expect(run("out.write('first\\n'); setTimeout(() => process.kill(process.pid, 'SIGKILL'), 400);")).toBe('first\n');
  });
});
