import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { readNumber } from '../canary/stages.ts';
import { type Action, actionLine } from './action-line.ts';

export const actions: Command = {
  help: 'what was done and what was not, newest first: --policy ID, --limit N',
  options: { policy: { type: 'string' }, limit: { type: 'string' } },
  run: async ({ api, write, values }) => {
    const query = new URLSearchParams({ limit: String(readNumber('limit', values['limit'] ?? '50')), policy: String(values['policy'] ?? '') }).toString();
    for (const action of (await api.admin<{ actions: Action[] }>('GET', `/admin/qos/actions?${query}`)).actions) write(actionLine(action));
  },
};

export const explain: Command = {
  help: 'why ACTION was done or not: inputs, bound, rule, outcome',
  options: {},
  run: async ({ api, write, positionals: [id] }) => {
    if (id === undefined) throw errors.USAGE({ problem: 'Name an action, such as action-12.' });
    for (const line of (await api.admin<{ explanation: string[] }>('GET', `/admin/qos/actions/${encodeURIComponent(id)}`)).explanation) write(line);
  },
};
