import type { Command } from '../command.ts';
import { type Changed, changeOptions, keyOf, lineOf } from './rollout.ts';

/** A change that takes no more than a reason. */
function move(name: string, help: string, own: Command['options'] = {}): Command {
  return {
    help,
    options: { ...own, ...changeOptions, force: { type: 'boolean' }, 'dry-run': { type: 'boolean' } },
    run: async ({ api, write, values }) => {
      const body = { reason: values['reason'] ?? '', force: values['force'] ?? false, dry_run: values['dry-run'] ?? false };
      const flags = Object.fromEntries(Object.keys(own).map((option) => [option, values[option] ?? false]));
      write(lineOf(await api.admin<Changed>('POST', `/admin/canary/${name}`, { ...body, ...flags }, keyOf(values))));
    },
  };
}

export const pause = move('pause', 'keep the share as it is; critical triggers still roll back');
export const resume = move('resume', 'go on after a pause');
export const promote = move('promote', 'leave the stage now; --full: all of them', { full: { type: 'boolean' } });
export const abort = move('abort', 'end the rollout: 0 %');
export const retry = move('retry', 'start a rollout that was rolled back or aborted once more');
