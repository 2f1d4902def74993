import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { type Changed, lineOf, type Rollout } from './rollout.ts';

export const rollback: Command = {
  help: 'take the canary back: at once, or --gradual by 10, 5 and 0 %; --move: what has no token yet starts anew at the baseline; --force: do not look before',
  options: { force: { type: 'boolean' }, gradual: { type: 'boolean' }, move: { type: 'boolean' }, reason: { type: 'string' } },
  run: async ({ api, write, values }) => {
    const { force = false, gradual = false, move = false, reason = '' } = values;
    if (!force) {
      const { phase, percentage } = await api.admin<Rollout>('GET', '/admin/canary/rollout');
      if (percentage === 0) throw errors.CHECK_FAILED({ problem: `There is nothing to roll back: ${phase}, canary at 0 %.` });
    }
    write(lineOf(await api.admin<Changed>('POST', '/admin/canary/rollback', { force, gradual, move_unstarted: move, reason })));
  },
};
