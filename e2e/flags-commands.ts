import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readEnvironment } from '@mlx-serving/service-kit';
import { environment } from '../apps/cli/src/config.ts';
import { runCommand } from '../apps/cli/src/run-command.ts';
import type { FlagsStack } from './flags-stack.ts';
import { root } from './stack.ts';

/** What one command line said. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly problems: string;
}

/** Every line of a page that calls `mlx-serving flags`, as its words, without what stands behind # or >. */
export function commandLinesOf(page: string): string[][] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^mlx-serving flags (.*?)(?:\s+[#>].*)?$/gm)].map(([, line = '']) => [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, one, two, three]) => one ?? two ?? three ?? ''));
}

/** Runs `mlx-serving flags …` against a running system. */
export async function flagsCommand({ stack }: FlagsStack, words: readonly string[]): Promise<Ran> {
  const config = readEnvironment(environment, { MLX_SERVING_ADMIN_URL: stack.urls.admin, MLX_SERVING_ADMIN_TOKEN_FILE: stack.urls.adminTokenFile, MLX_SERVING_GATEWAY_URL: stack.urls.gateway });
  let [out, problems] = ['', ''];
  const code = await runCommand(['flags', ...words], config, { write: (text) => (out += text) }, { write: (text) => (problems += text) });
  return { code, out, problems };
}
