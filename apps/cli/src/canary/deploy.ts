import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { plan } from './plan.ts';
import { type Changed, lineOf } from './rollout.ts';
import { readNumber, readStages } from './stages.ts';

interface Health {
  readonly canary: { readonly percentage: number };
}

const VERIFY_MS = 5_000;
const LOOK_EVERY_MS = 100;

export const deploy: Command = {
  help: 'start a rollout: --percentage N or --stages 1,10:gate,50,100; --duration HOURS each; --dry-run; --force',
  options: {
    percentage: { type: 'string', default: '1' },
    stages: { type: 'string' },
    duration: { type: 'string', default: '0' },
    'dry-run': { type: 'boolean' },
    force: { type: 'boolean' },
    reason: { type: 'string' },
  },
  run: async (context) => {
    const { api, write, values } = context;
    const percentage = readNumber('percentage', values['percentage']);
    const stages = readStages(values['stages'] as string | undefined, readNumber('duration', values['duration']));
    const body = { percentage, stages, force: values['force'] ?? false, dry_run: values['dry-run'] ?? false, reason: values['reason'] ?? '' };
    if (!values['force']) await api.gateway('/health/ready');
    const changed = await api.admin<Changed>('POST', '/admin/canary/deploy', body);
    write(lineOf(changed));
    if (values['dry-run']) await plan.run(context);
    else await verify(context, changed.rollout.percentage);
  },
};

/** Waits until the gateway routes so. @throws CHECK_FAILED when it does not */
async function verify({ api, write }: Parameters<Command['run']>[0], percentage: number): Promise<void> {
  for (const end = performance.now() + VERIFY_MS; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))) {
    const { canary } = await api.gateway<Health>('/health/canary');
    if (canary.percentage === percentage) return write(`verified: the gateway sends ${percentage} % to the canary`);
  }
  throw errors.CHECK_FAILED({ problem: `The gateway does not send ${percentage} % to the canary.` });
}
