import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { rollbackTrigger } from '@mlx-serving/policy';
import { canaryCommands } from '../src/canary/commands.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const page = read('docs/canary.md');
const firstColumn = (heading: string): string[] => [...(page.split(`## ${heading}`)[1]?.split('\n## ')[0] ?? '').matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name);

describe('docs/canary.md', () => {
  it('names commands and options that there are', () => {
    const lines = [...page.matchAll(/(?:mlx-serving(?:\.sh)? canary |tools\/)(\w+)(?:-canary\.sh)?((?: [\w:,.=-]+)*)/g)].filter(([, name = '']) => name !== 'mlx');
    expect(lines.length).toBeGreaterThanOrEqual(6);
    for (const [text, name = '', rest = ''] of lines) {
      const command = canaryCommands[name];
      if (!command) throw new Error(`there is no command for '${text}'`);
      const options = [...rest.matchAll(/--([\w-]+)/g)].map(([, option = '']) => option);
      expect(Object.keys(command.options)).toEqual(expect.arrayContaining(options));
    }
  });

  it('lists every trigger of the configuration, and no other', () => {
    expect(firstColumn('Triggers').sort()).toEqual([...rollbackTrigger.shape.name.options].sort());
  });

  it('lists every status of the service, and no other', () => {
    const source = read('apps/canary/src/rollout/rollout-message.ts') + read('apps/canary/src/rollout/rollout-state.ts');
    const statuses = [...(/type RolloutStatus =([^;]+)Exclude/.exec(source)?.[1] ?? '').matchAll(/'(\w+)'/g), ...(/type RolloutPhase =([^;]+);/.exec(source)?.[1] ?? '').matchAll(/'(\w+)'/g)].map(([, name = '']) => name);
    expect(firstColumn('What the verdict means').sort()).toEqual(statuses.filter((name) => name !== 'running').sort());
  });

  it('names metrics, routes and hard stops that there are', () => {
    const sources = ['apps/canary/src/metrics.ts', 'apps/canary/src/rollout/verdict.ts', 'apps/admin/src/canary/engines-handler.ts'].map(read).join('\n');
    const names = [...page.matchAll(/`(mlx_serving_canary_\w+|worker_gone|failed_at_once|worker_exits|blast_radius)`/g)].map(([, name = '']) => name);
    expect(names.length).toBe(12);
    for (const name of names) expect(sources).toContain(name);
    expect(page).toContain('`POST /admin/canary/flagger/`');
    for (const kind of ['rollout', 'confirm-promotion', 'rollback']) expect([page, sources]).toEqual([expect.stringContaining(`\`${kind}\``), expect.stringContaining(kind)]);
  });
});
