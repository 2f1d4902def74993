import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { silentLogger } from '../logger.ts';
import { ConfigError } from './config-error.ts';
import { ConfigFile } from './config-file.ts';

const schema = z.strictObject({ limit: z.number() });

let directory: string;
let path: string;
let file: ConfigFile<typeof schema>;
let outcomes: (number | string)[];
let settle: () => void;

/** Resolves once the file was accepted or refused so many times. */
async function outcome(count: number): Promise<number | string | undefined> {
  while (outcomes.length < count) await new Promise<void>((resolve) => (settle = resolve));
  return outcomes[count - 1];
}

function note(what: number | string): void {
  outcomes.push(what);
  settle();
}

/** Writes the file whole: a reader never meets it empty, as it may between a truncation and a write. */
async function replaceFile(text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'config-file-'));
  path = join(directory, 'x.yaml');
  outcomes = [];
  settle = () => undefined;
  await writeFile(path, 'limit: 1\n');
  file = new ConfigFile({
    path,
    schema,
    logger: silentLogger,
    pollMs: 5,
    onChange: (value) => note(value.limit),
    onRefused: (error) => note(error.message),
  });
});

afterEach(async () => {
  file.stop();
  await rm(directory, { recursive: true });
});

describe('ConfigFile', () => {
  it('has no value before it was loaded, and says so', () => {
    expect(() => file.value).toThrow('was not loaded yet');
  });

  it('rejects the first load of a missing or invalid file, so that a service does not start on it', async () => {
    await writeFile(path, 'limit: no\n');
    await expect(file.load()).rejects.toThrow(`${path}:1:8 limit:`);
    await unlink(path);
    await expect(file.load()).rejects.toThrow(`${path}:1:1 The file cannot be read (ENOENT).`);
  });

  it('sees a change, and swaps value and text together', async () => {
    await file.load();
    file.watch();
    await writeFile(path, 'limit: 22\n');
    expect(await outcome(1)).toBe(22);
    await file.reload();
    expect([file.value, file.text]).toEqual([{ limit: 22 }, 'limit: 22\n']);
  });

  it('sees a change that was made between load and watch', async () => {
    await file.load();
    await writeFile(path, 'limit: 333\n');
    file.watch();
    expect(await outcome(1)).toBe(333);
  });

  it('keeps the old value when the new one is invalid, reports it once, and takes the mended one', async () => {
    await file.load();
    file.watch();
    await replaceFile('limit: wrong\n');
    expect(await outcome(1)).toContain(`${path}:1:8 limit:`);
    expect(file.value).toEqual({ limit: 1 });
    await replaceFile('limit: 4444\n');
    expect(await outcome(2)).toBe(4444);
    expect(outcomes).toHaveLength(2);
  });

  it('keeps the old value while the file is gone, and takes the one that comes back', async () => {
    await file.load();
    file.watch();
    await unlink(path);
    expect(await outcome(1)).toContain('ENOENT');
    expect(file.value).toEqual({ limit: 1 });
    await writeFile(path, 'limit: 5\n');
    expect(await outcome(2)).toBe(5);
  });

  it('sees an editor that replaces the file by a rename, more than once', async () => {
    await file.load();
    file.watch();
    for (const limit of [10, 11, 12]) {
      await writeFile(`${path}.new`, `limit: ${limit}\n`);
      await rename(`${path}.new`, path);
      expect(await outcome(limit - 9)).toBe(limit);
    }
  });

  it('sees a symbolic link that is swapped above the file, as mounted configuration is', async () => {
    for (const version of ['one', 'two']) await mkdir(join(directory, version));
    await writeFile(join(directory, 'one', 'x.yaml'), 'limit: 1\n');
    await writeFile(join(directory, 'two', 'x.yaml'), 'limit: 2\n');
    await symlink('one', join(directory, 'data'));
    const linked = new ConfigFile({ path: join(directory, 'data', 'x.yaml'), schema, logger: silentLogger, pollMs: 5, onChange: (value) => note(value.limit) });
    await linked.load();
    linked.watch();
    await symlink('two', join(directory, 'swap'));
    await rename(join(directory, 'swap'), join(directory, 'data'));
    expect(await outcome(1)).toBe(2);
    linked.stop();
  });

  it('keeps the old value when whoever must apply the new one fails, and reload never rejects', async () => {
    const failing = new ConfigFile({ path, schema, logger: silentLogger, onChange: () => Promise.reject(new Error('store is down')) });
    await failing.load();
    await writeFile(path, 'limit: 7\n');
    await expect(failing.reload()).resolves.toBeUndefined();
    expect(failing.value).toEqual({ limit: 1 });
  });

  it('applies reloads one after the other', async () => {
    const running: string[] = [];
    const slow = new ConfigFile({
      path,
      schema,
      logger: silentLogger,
      onChange: async (value) => {
        running.push(`start ${value.limit}`);
        await new Promise(setImmediate);
        running.push(`end ${value.limit}`);
      },
    });
    await slow.load();
    await writeFile(path, 'limit: 8\n');
    const first = slow.reload();
    await Promise.all([first, slow.reload()]);
    expect(running).toEqual(['start 8', 'end 8']);
  });

  it('does not call back for a file that was written again with the same text', async () => {
    await file.load();
    await writeFile(path, 'limit: 1\n');
    await file.reload();
    expect(outcomes).toEqual([]);
    expect(new ConfigError('f', []).name).toBe('ConfigError');
  });
});
