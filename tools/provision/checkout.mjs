import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of this checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

export const virtualEnvironment = join(root, 'python-worker', '.venv');

export const virtualPython = join(virtualEnvironment, 'bin', 'python');

/** @returns the text, or an empty one when there is no such file */
export function readIfPresent(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

export function sha256(text) {
  return createHash('sha256').update(text).digest('hex');
}
