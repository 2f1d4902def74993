import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { isInstalled } from './node-packages.mjs';
import { SetupError } from './progress.mjs';
import { isEnough } from './project-node.mjs';
import { findPython } from './python-environment.mjs';
import { findRedisServer } from './redis-server.mjs';
import { runLogged } from './run-logged.mjs';

const folderWith = (name, text) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlx-serving-'));
  writeFileSync(join(folder, name), text);
  chmodSync(join(folder, name), 0o755);
  return folder;
};

describe('the record of installed packages', () => {
  const lock = {
    packages: { '': {}, 'apps/gateway': {}, 'node_modules/a': { version: '1.0.0', integrity: 'x' }, 'node_modules/b-darwin': { version: '1.0.0', integrity: 'y', optional: true } },
  };
  const record = (packages) => JSON.stringify({ packages });

  it('agrees with the lock when only packages for other machines are missing', () => {
    expect(isInstalled(lock, record({ 'node_modules/a': { version: '1.0.0', integrity: 'x' } }))).toBe(true);
  });

  it.each([
    ['nothing is installed', ''],
    ['a package is missing', record({})],
    ['a package has another version', record({ 'node_modules/a': { version: '1.0.1', integrity: 'x' } })],
    ['a package has another content', record({ 'node_modules/a': { version: '1.0.0', integrity: 'z' } })],
  ])('does not agree when %s', (_, text) => {
    expect(isInstalled(lock, text)).toBe(false);
  });
});

describe('the interpreters', () => {
  it.each([
    ['v22.22.0', true],
    ['v22.23.2', true],
    ['v24.0.0', true],
    ['v22.21.9', false],
    ['v20.20.2', false],
  ])('Node %s is enough: %s', (version, enough) => {
    expect(isEnough(version)).toBe(enough);
  });

  it('takes the Python that PYTHON names, and refuses one that is too old', () => {
    const answering = (text) => join(folderWith('python', `#!/bin/sh\necho ${text}\n`), 'python');
    const [enough, old] = [answering('3 10'), answering('3 9')];
    expect(findPython({ PYTHON: enough })).toBe(enough);
    expect(() => findPython({ PYTHON: old })).toThrow('Python 3.10 or newer is needed');
  });

  it("takes the machine's Redis before the packaged one, and none when REDIS_URL names one", () => {
    const folder = folderWith('redis-server', '');
    expect(findRedisServer({ PATH: folder })).toBe(join(folder, 'redis-server'));
    expect(findRedisServer({ PATH: folder, REDIS_URL: 'redis://elsewhere' })).toBe('');
  });
});

describe('a quiet command', () => {
  it('names its log and shows the last lines when it fails', async () => {
    const log = join(mkdtempSync(join(tmpdir(), 'mlx-serving-')), 'logs', 'command.log');
    const failure = await runLogged(['sh', '-c', 'echo the reason; exit 3'], { log }).catch((error) => error);
    expect(failure).toBeInstanceOf(SetupError);
    expect(failure.message).toContain('exit code 3');
    expect(failure.message).toContain(log);
    expect(failure.message).toContain('the reason');
  });
});
