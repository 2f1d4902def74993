import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { type Changed, pathOf, reason, tell, wanted } from './change.ts';

export const store: Command = {
  help: 'the state of the flag store; accept or reseed decides what holds after it lost data; --reason TEXT',
  options: reason,
  run: async ({ api, write, positionals, values }) => {
    const [decision] = positionals;
    if (decision === undefined) return write(JSON.stringify(await api.admin('GET', '/admin/store'), null, 2));
    if (decision !== 'accept' && decision !== 'reseed') throw errors.USAGE({ problem: 'Decide between accept and reseed.' });
    return tell(write, await api.admin<Changed>('POST', `/admin/store/${decision}`, { reason: values['reason'] ?? '' }));
  },
};

export const tokens: Command = {
  help: 'every token; create NAME ROLE makes one (viewer, operator, admin) and shows its secret once; revoke ID',
  options: {},
  run: async (context) => {
    const { api, write, positionals } = context;
    const [action] = positionals;
    if (action === 'create') {
      const body = { name: wanted(context, 1, 'a name'), role: wanted(context, 2, 'a role') };
      return write((await api.admin<{ secret: string }>('POST', '/admin/tokens', body)).secret);
    }
    if (action === 'revoke') return write((await api.admin<Changed>('DELETE', `/admin/tokens/${wanted(context, 1, 'an id')}`)).message);
    for (const { id, name, role } of await api.admin<{ id: string; name: string; role: string }[]>('GET', '/admin/tokens')) write(`${id} ${role.padEnd(8)} ${name}`);
  },
};

export const pending: Command = {
  help: 'changes that wait for a second person; approve ID or reject ID',
  options: {},
  run: async (context) => {
    const { api, write, positionals } = context;
    const [decision] = positionals;
    if (decision === 'approve' || decision === 'reject') return tell(write, await api.admin<Changed>('POST', `/admin/pending/${wanted(context, 1, 'an id')}/${decision}`, {}));
    for (const { id, action, flag, requested_by, why } of await api.admin<Record<string, string>[]>('GET', '/admin/pending')) write(`${id} ${action} ${flag} by ${requested_by}: ${why}`);
  },
};

export const rollout: Command = {
  help: 'every rollout; start NAME --preset seeds|gradual or --stages 1,10,100 --wait MINUTES; pause, resume, abort NAME',
  options: { ...reason, preset: { type: 'string' }, stages: { type: 'string' }, wait: { type: 'string', default: '1440' } },
  run: async (context) => {
    const { api, write, positionals, values } = context;
    const [action] = positionals;
    if (action === undefined) {
      for (const { flag, state, stage, stages, note } of await api.admin<{ flag: string; state: string; stage: number; stages: { percentage: number }[]; note: string }[]>('GET', '/admin/rollouts')) {
        write(`${flag} ${state} at ${stages[stage]?.percentage} %${note ? `: ${note}` : ''}`);
      }
      return 0;
    }
    const path = `${pathOf(wanted(context, 1, 'the name of a flag'))}/rollout`;
    const why = { ...(values['reason'] === undefined ? {} : { reason: values['reason'] }) };
    if (action !== 'start') return tell(write, await api.admin<Changed>('POST', `${path}/${action}`, why));
    const stages = typeof values['stages'] === 'string' ? values['stages'].split(',').map((percentage) => ({ percentage: Number(percentage), wait_ms: Number(values['wait']) * 60_000 })) : [];
    return tell(write, await api.admin<Changed>('POST', path, { ...why, stages, ...(values['preset'] === undefined ? {} : { preset: values['preset'] }) }));
  },
};
