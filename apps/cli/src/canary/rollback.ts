import type { Command } from '../command.ts';
import { updateConfig } from './config-file.ts';
import { type Changed, changeOptions, keyOf, lineOf, type Rollout } from './rollout.ts';
import { verify } from './verify.ts';

export const rollback: Command = {
  help: 'take the canary back: at once, or --gradual by 10, 5 and 0 %; --move: what has no token yet starts anew at the baseline; --config FILE to update; --force: do not look before and after',
  options: { force: { type: 'boolean' }, gradual: { type: 'boolean' }, move: { type: 'boolean' }, config: { type: 'string' }, ...changeOptions },
  run: async (context) => {
    const { api, write, values } = context;
    const { force = false, gradual = false, move = false, reason = '' } = values;
    if (!force) {
      const { phase, percentage } = await api.admin<Rollout>('GET', '/admin/canary/rollout');
      if (percentage === 0) return write(`unchanged: ${phase}, canary at 0 %`);
    }
    const changed = await api.admin<Changed>('POST', '/admin/canary/rollback', { force, gradual, move_unstarted: move, reason }, keyOf(values));
    write(lineOf(changed));
    await updateConfig(context, 0);
    if (!force) await verify(context, changed.rollout.percentage);
  },
};
