import type { Command } from '../command.ts';
import { updateConfig } from './config-file.ts';
import { plan } from './plan.ts';
import { type Changed, changeOptions, keyOf, lineOf } from './rollout.ts';
import { readTarget } from './stages.ts';
import { verify } from './verify.ts';

export const deploy: Command = {
  help: 'start a rollout: --percentage N or --stages 1,10:gate,50,100; --duration HOURS at each stage (alone: then 10, 50 and 100 %); --config FILE to update; --dry-run; --force',
  options: {
    percentage: { type: 'string' },
    stages: { type: 'string' },
    duration: { type: 'string' },
    config: { type: 'string' },
    'dry-run': { type: 'boolean' },
    force: { type: 'boolean' },
    ...changeOptions,
  },
  run: async (context) => {
    const { api, write, values } = context;
    const body = { ...readTarget(values), force: values['force'] ?? false, dry_run: values['dry-run'] ?? false, reason: values['reason'] ?? '' };
    if (!values['force']) await api.gateway('/health/ready');
    const changed = await api.admin<Changed>('POST', '/admin/canary/deploy', body, keyOf(values));
    write(lineOf(changed));
    if (values['dry-run']) return plan.run(context);
    await updateConfig(context, changed.rollout.percentage);
    await verify(context, changed.rollout.percentage);
  },
};
