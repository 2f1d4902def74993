import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes a file so that a reader sees the old text or the new one, never half of it. */
export async function writeFileAtomically(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  // A name of its own for each write, so that two writes at once do not meet.
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeInFolder(temporary, data, mode);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Makes the folder only when it is not there, which is once: a state that changes often is written often. */
async function writeInFolder(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  const write = (): Promise<void> => writeFile(path, data, { mode, flush: true });
  try {
    await write();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await mkdir(dirname(path), { recursive: true });
    await write();
  }
}

/** @returns the bytes, or undefined when there is no such file */
export async function readFileIfPresent(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
