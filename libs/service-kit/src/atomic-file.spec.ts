import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileIfPresent, writeFileAtomically } from './atomic-file.ts';

let directory: string;
beforeEach(async () => void (directory = await mkdtemp(join(tmpdir(), 'atomic-'))));
afterEach(() => rm(directory, { recursive: true }));

describe('writeFileAtomically', () => {
  it('makes the folders, writes with the mode, and leaves nothing else behind', async () => {
    const path = join(directory, 'a', 'b', 'token');
    await writeFileAtomically(path, 'secret', 0o600);
    await writeFileAtomically(path, 'newer', 0o600);
    expect(await readFile(path, 'utf8')).toBe('newer');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(directory, 'a', 'b'))).toEqual(['token']);
  });

  it('lets a reader see one whole text or the other while writes run at once', async () => {
    const path = join(directory, 'snapshot');
    const texts = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(100_000));
    await writeFileAtomically(path, texts[0] ?? '');
    const seen = await Promise.all([...texts, ...texts].flatMap((text) => [writeFileAtomically(path, text).then(() => ''), readFile(path, 'utf8')]));
    expect(seen.filter((text) => text !== '' && !texts.includes(text))).toEqual([]);
  });
});

describe('readFileIfPresent', () => {
  it('answers undefined for a missing file, and rejects for anything else', async () => {
    expect(await readFileIfPresent(join(directory, 'none'))).toBeUndefined();
    await expect(readFileIfPresent(directory)).rejects.toThrow('EISDIR');
  });
});
