import { describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('./create-gateway.ts', import.meta.url));
// Its own answer, which is refused, comes after the bound.
const created = `const { createGateway } = await import(${JSON.stringify(source)}); await createGateway({ host: '0.0.0.0', processes: 1 }, {}).catch(() => undefined);`;

/** What V8 makes of its version, the machine and all its flags, those that were set while it ran included. */
function flagsTag(script: string, ...flags: string[]): string {
  const args = [...flags, '--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', `import { cachedDataVersionTag } from 'node:v8'; ${script} console.log(cachedDataVersionTag());`];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (!/^\d+\n$/.test(stdout)) throw new Error(stderr);
  return stdout;
}

describe('a process of the gateway', () => {
  it('bounds the growth of its heap, however it was started', () => {
    const plain = flagsTag('');
    const bounded = flagsTag('', '--heap-growing-percent=50');
    expect(bounded).not.toBe(plain);
    expect(flagsTag(created)).toBe(bounded);
  });
});
