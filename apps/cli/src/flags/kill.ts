import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { type Changed, pathOf, reason, tell, wanted } from './change.ts';

/** A change that takes a name and no more than a reason. */
function latch(name: 'kill' | 'revive', help: string): Command {
  return {
    help,
    options: reason,
    run: async (context) => {
      const body = typeof context.values['reason'] === 'string' ? { reason: context.values['reason'] } : {};
      return tell(context.write, await context.api.admin<Changed>('POST', `${pathOf(wanted(context, 0, 'the name of a flag'))}/${name}`, body));
    },
  };
}

export const kill = latch('kill', 'NAME: turn a flag off everywhere, now; --reason TEXT if you like');
export const revive = latch('revive', 'NAME: lift the kill; --reason TEXT, which production asks for');

export const emergency: Command = {
  help: 'on or off: every flag at once; --rollback on or off: all traffic to the baseline; --reason TEXT, which production asks for to turn one off',
  options: { ...reason, rollback: { type: 'string' } },
  run: async (context) => {
    const { positionals, values } = context;
    const switches = { ...switchOf('kill_switch', positionals[0]), ...switchOf('rollback_to_baseline', values['rollback'] as string | undefined) };
    if (Object.keys(switches).length === 0) throw errors.USAGE({ problem: 'Give on or off.' });
    return tell(context.write, await context.api.admin<Changed>('POST', '/admin/emergency', { ...switches, ...(values['reason'] === undefined ? {} : { reason: values['reason'] }) }));
  },
};

function switchOf(name: string, value: string | undefined): Record<string, boolean> {
  if (value === undefined) return {};
  if (value !== 'on' && value !== 'off') throw errors.USAGE({ problem: `${value} is neither on nor off.` });
  return { [name]: value === 'on' };
}
