import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Where a flag's name stands in a source tree. */
export interface Reference {
  readonly file: string;
  readonly line: number;
}

const SKIPPED = new Set(['node_modules', 'dist', 'build', 'target', 'vendor', '__pycache__']);
const SOURCE = /\.(?:[cm]?[jt]sx?|py|go|rs|java|kt|swift|rb|php|cs|c|cc|cpp|h|vue|svelte|html|ya?ml|json|toml|sh)$/;
const MAX_BYTES = 1024 * 1024;
/** Most places that are kept of one flag. */
const MAX_REFERENCES = 20;

/** Finds the names of flags in the source files below a folder. Links, hidden folders and folders of other people's code are left out. */
export async function scanReferences(folder: string, names: readonly string[]): Promise<Map<string, Reference[]>> {
  const found = new Map<string, Reference[]>(names.map((name) => [name, []]));
  if (names.length === 0) return found;
  const longestFirst = [...names].sort((a, b) => b.length - a.length).map((name) => name.replaceAll('.', '\\.'));
  const pattern = new RegExp(`(?<![\\w.-])(?:${longestFirst.join('|')})(?![\\w-])`, 'g');
  for await (const file of sourceFiles(folder)) {
    const lines = (await readFile(file, 'utf8')).split('\n');
    lines.forEach((text, i) => {
      for (const name of new Set(text.match(pattern))) {
        const references = found.get(name);
        if (references && references.length < MAX_REFERENCES) references.push({ file: relative(folder, file), line: i + 1 });
      }
    });
  }
  return found;
}

async function* sourceFiles(folder: string): AsyncGenerator<string> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !SKIPPED.has(entry.name) && !entry.name.startsWith('.')) yield* sourceFiles(path);
    else if (entry.isFile() && SOURCE.test(entry.name) && (await stat(path)).size <= MAX_BYTES) yield path;
  }
}
