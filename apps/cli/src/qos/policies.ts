import type { SloPolicy } from '@mlx-serving/policy';
import type { Command } from '../command.ts';
import { readPolicies } from './read-policies.ts';

export const policies: Command = {
  help: 'the policies in force, highest priority first; --json: whole',
  options: { json: { type: 'boolean' } },
  run: async ({ api, write, values }) => {
    const found = (await api.admin<{ policies: SloPolicy[] }>('GET', '/admin/qos/policies')).policies;
    if (values['json']) return write(JSON.stringify(found, null, 2));
    for (const { id, enabled, priority, dry_run, slos, remediations } of found) {
      const actions = remediations.map(({ type }) => type).join(', ') || 'nothing';
      write(`${id} (priority ${priority}${enabled ? '' : ', off'}${dry_run ? ', dry run' : ''}): ${slos.map(({ name, threshold }) => `${name} ${threshold}`).join(', ')} → ${actions}`);
    }
  },
};

export const validate: Command = {
  help: 'check the policies of FILE (a runtime.yaml, or a list of policies): every problem with line and column',
  options: {},
  run: async ({ write, positionals }) => {
    const found = await readPolicies(positionals[0]);
    write(`✓ ${found.length} ${found.length === 1 ? 'policy is' : 'policies are'} valid`);
  },
};
