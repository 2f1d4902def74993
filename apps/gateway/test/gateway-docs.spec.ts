import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { runtimeFile } from '@mlx-serving/policy';
import { parse } from 'yaml';
import { metricsTable } from '../src/metrics.ts';
import { environment } from '../src/config.ts';
import { STREAM_WINDOW_BYTES } from '../src/transport/token-transport.ts';

const read = (path: string): Promise<string> => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8');

describe('docs/gateway.md', () => {
  it('names only metrics, settings and variables that there are', async () => {
    const [text, settings] = [await read('docs/gateway.md'), runtimeFile.parse(parse(await read('config/runtime.yaml')))];
    const metrics = Object.values(metricsTable).map(({ name }): string => name);
    const known = Object.entries(settings).flatMap(([section, values]) => Object.keys(values).map((name) => `${section}.${name}`));
    const variables = Object.values(environment).map(({ name }): string => name);
    const named = (pattern: RegExp): string[] => [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ''))];
    expect(named(/`(mlx_serving_gateway_\w+)`/g).filter((name) => !metrics.includes(name))).toEqual([]);
    expect(named(/`((?:governor|balancing|failure|requests)\.\w+)`/g).filter((name) => !known.includes(name))).toEqual([]);
    expect(named(/`(MLX_SERVING_[A-Z_]+)/g).filter((name) => !variables.includes(name))).toEqual([]);
    expect(text).toContain(`${STREAM_WINDOW_BYTES / 1024} KiB window`);
  });
});
