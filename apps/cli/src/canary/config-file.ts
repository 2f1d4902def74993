import { readFile, rename, writeFile } from 'node:fs/promises';
import type { CommandContext } from '../command.ts';

const SHARE = /^(\s*rolloutPercentage:[ \t]*)[^\s#]+/m;

/**
 * Writes the share that is in force into `canary.yaml`, so that file and rollout agree; the rest of the file stays as it is.
 * The rollout has begun by now, so a file that cannot be written is told and stops nothing.
 */
export async function updateConfig({ write, values }: Pick<CommandContext, 'write' | 'values'>, percentage: number): Promise<void> {
  const file = values['config'];
  if (typeof file !== 'string') return;
  try {
    const text = await readFile(file, 'utf8');
    const changed = text.replace(SHARE, `$1${percentage}`);
    if (!SHARE.test(text)) throw new Error('it has no rolloutPercentage');
    if (changed === text) return;
    await writeFile(`${file}.new`, changed);
    await rename(`${file}.new`, file);
    write(`updated: ${file} says ${percentage} %`);
  } catch (error) {
    write(`${file} was not updated: ${error instanceof Error ? error.message : String(error)}`);
  }
}
