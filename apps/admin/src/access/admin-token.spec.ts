import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { isSameToken, readOrCreateToken } from './admin-token.ts';

describe('the admin token', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'token-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is made of 32 random bytes, readable by its owner only, and stays', async () => {
    const path = join(folder, 'state', 'admin-token');
    const token = await readOrCreateToken(path);
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8').trim()).toBe(token);
    expect(await readOrCreateToken(path)).toBe(token);
  });

  it('is not taken from a file that holds too little', async () => {
    const path = join(folder, 'admin-token');
    writeFileSync(path, 'secret\n');
    await expect(readOrCreateToken(path)).rejects.toThrow('Remove the file');
  });

  it('is compared whole', () => {
    expect(isSameToken('a'.repeat(64), 'a'.repeat(64))).toBe(true);
    expect(isSameToken('a'.repeat(63), 'a'.repeat(64))).toBe(false);
    expect(isSameToken('', 'a'.repeat(64))).toBe(false);
  });
});
