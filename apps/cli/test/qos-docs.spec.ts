import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { remediation, RULES, sloMetric } from '@mlx-serving/policy';
import { qosCommands } from '../src/qos/commands.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const page = read('docs/qos.md');
const firstColumn = (header: string): string[] => {
  const table = page.split(`| ${header} |`)[1]?.split('\n\n')[0] ?? '';
  return [...table.matchAll(/^\|((?: `[\w]+`,?)+) \|/gm)].flatMap(([, names = '']) => [...names.matchAll(/`(\w+)`/g)].map(([, name = '']) => name));
};

describe('docs/qos.md', () => {
  it('names commands and options that there are', () => {
    const lines = [...page.matchAll(/mlx-serving\.sh qos ([\w-]+)([^\n#]*)/g)];
    expect(lines.length).toBeGreaterThanOrEqual(7);
    for (const [text, name = '', rest = ''] of lines) {
      const command = qosCommands[name];
      if (!command) throw new Error(`there is no command for '${text}'`);
      expect(Object.keys(command.options)).toEqual(expect.arrayContaining([...rest.matchAll(/--([\w-]+)/g)].map(([, option = '']) => option)));
    }
  });

  it('lists every metric, remediation and verdict, and no other', () => {
    expect(firstColumn('metric').sort()).toEqual([...sloMetric.options].sort());
    expect(firstColumn('remediation').sort()).toEqual([...remediation.shape.type.options].sort());
    expect(firstColumn('verdict').sort()).toEqual(['insufficient_data', 'ok', 'stale', 'violated']);
  });

  it('names rules, routes and variables that there are', () => {
    for (const rule of firstColumn('rule')) expect(Object.keys(RULES)).toContain(rule);
    const sources = ['apps/admin/src/qos/qos-handler.ts', 'apps/admin/src/states/states-handler.ts', 'apps/qos/src/config.ts', 'apps/qos/src/metrics.ts'].map(read).join('\n');
    for (const [, name = ''] of page.matchAll(/`(?:(?:GET|POST) )?(\/admin\/qos[\w/:]*|MLX_SERVING_\w+|mlx_serving_qos_\w+)`/g)) expect(sources).toContain(name);
  });
});
