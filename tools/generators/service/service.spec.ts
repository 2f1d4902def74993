import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Tree } from '@nx/devkit';
import testing from '@nx/devkit/testing';
import { serviceGenerator } from './generator.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const installed = (script: string): string => join(root, 'node_modules', script);

const EVERY_SERVICE = ['main', 'config', 'app', 'server', 'metrics', 'errors', 'health', 'index', 'app.spec'].map((file) => `src/${file}.ts`);

function written(tree: Tree): Record<string, string> {
  const changes = tree.listChanges().filter(({ path }) => path.startsWith('apps/') && !path.endsWith('.gitkeep'));
  return Object.fromEntries(changes.map(({ path, content }) => [path, content?.toString() ?? '']));
}

describe('the service generator', () => {
  it('writes the eight root files, a spec, and what a package needs', async () => {
    const tree = testing.createTreeWithEmptyWorkspace();
    await serviceGenerator(tree, { name: 'token-billing' });
    const expected = ['README.md', 'jest.config.mjs', 'package.json', 'tsconfig.build.json', ...EVERY_SERVICE].map((file) => `apps/token-billing/${file}`);
    expect(Object.keys(written(tree)).sort()).toEqual(expected.sort());
  });

  it('puts name, description and port where they belong', async () => {
    const tree = testing.createTreeWithEmptyWorkspace();
    await serviceGenerator(tree, { name: 'token-billing', description: 'Says "what" a token costs', operationsPort: 9190 });
    const files = written(tree);
    const manifest = JSON.parse(files['apps/token-billing/package.json'] ?? '') as Record<string, unknown>;
    expect(manifest).toMatchObject({
      name: '@mlx-serving/token-billing',
      description: 'Says "what" a token costs',
      nx: { tags: ['layer:app', 'scope:token-billing'] },
    });
    expect(files['apps/token-billing/src/config.ts']).toContain(`{ name: 'MLX_SERVING_TOKEN_BILLING_OPERATIONS_PORT', default: '9190' }`);
    expect(files['apps/token-billing/src/index.ts']).toContain('type TokenBillingApp');
    expect(Object.values(files).join('')).not.toContain('<%');
  });

  it('takes the next operations port that no service and no worker has', async () => {
    const tree = testing.createTreeWithEmptyWorkspace();
    for (const port of [9101, 9102, 9104]) tree.write(`apps/a${port}/src/config.ts`, `{ name: 'MLX_SERVING_A_OPERATIONS_PORT', default: '${port}' }`);
    await serviceGenerator(tree, { name: 'first' });
    await serviceGenerator(tree, { name: 'second' });
    expect(tree.read('apps/first/src/config.ts', 'utf8')).toContain(`default: '9103'`);
    expect(tree.read('apps/second/src/config.ts', 'utf8')).toContain(`default: '9105'`);
  });

  it.each(['Billing', '../billing', 'a--b', '9lives', ''])('refuses the name %p', async (name) => {
    await expect(serviceGenerator(testing.createTreeWithEmptyWorkspace(), { name })).rejects.toThrow("A service's name");
  });

  it('writes over nothing', async () => {
    const tree = testing.createTreeWithEmptyWorkspace();
    await serviceGenerator(tree, { name: 'billing' });
    await expect(serviceGenerator(tree, { name: 'billing' })).rejects.toThrow('There is apps/billing already.');
  });

  describe('gives a service that', () => {
    let workspace: string;
    let app: string;
    const run = (...args: string[]): string => {
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: app, encoding: 'utf8' });
      return status === 0 ? 'ok' : stdout + stderr;
    };

    // Inside the repository, so that the packages of the workspace are found; .nx is ignored by git.
    beforeAll(async () => {
      mkdirSync(join(root, '.nx'), { recursive: true });
      workspace = mkdtempSync(join(root, '.nx/generated-'));
      app = join(workspace, 'apps/token-billing');
      const tree = testing.createTreeWithEmptyWorkspace();
      await serviceGenerator(tree, { name: 'token-billing', description: "Says 'what' a token costs" });
      for (const [path, content] of Object.entries(written(tree))) {
        mkdirSync(dirname(join(workspace, path)), { recursive: true });
        writeFileSync(join(workspace, path), content);
      }
      symlinkSync(join(root, 'tools'), join(workspace, 'tools'));
      writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ extends: join(root, 'tsconfig.json'), include: ['src'] }));
    });
    afterAll(() => rmSync(workspace, { recursive: true }));

    it('type-checks', () => {
      expect(run(installed('typescript/bin/tsc'), '--noEmit', '-p', 'tsconfig.json')).toBe('ok');
    }, 60_000);

    it('passes its own spec', () => {
      expect(run('--experimental-vm-modules', installed('jest/bin/jest.js'), '--silent')).toBe('ok');
    }, 60_000);

    it('runs', () => {
      expect(run('--conditions=@mlx-serving/source', 'src/main.ts', '--help')).toBe('ok');
    }, 60_000);
  });
});
