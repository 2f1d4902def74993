import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { wanted } from '../flags/change.ts';

const LIMITS = { rpm: 'requests_per_minute', tpm: 'tokens_per_minute', 'tokens-per-day': 'tokens_per_day', 'tokens-per-month': 'tokens_per_month' } as const;
const text = { type: 'string' } as const;

interface KeyState {
  readonly key: { id: string; name: string; tenant: string; priority: string };
  readonly balance?: { tokensToday: number; tokensThisMonth: number };
}

const create: Command = {
  help: 'NAME: a key for clients of the gateway, shown once; --tenant --priority interactive|normal|batch|background --rpm --tpm --tokens-per-day --tokens-per-month',
  options: { tenant: text, priority: text, rpm: text, tpm: text, 'tokens-per-day': text, 'tokens-per-month': text },
  run: async (context) => {
    const { api, write, values } = context;
    const body: Record<string, unknown> = { name: wanted(context, 0, 'a name') };
    for (const name of ['tenant', 'priority']) if (values[name] !== undefined) body[name] = values[name];
    for (const [option, field] of Object.entries(LIMITS)) {
      if (values[option] === undefined) continue;
      const limit = Number(values[option]);
      if (!Number.isInteger(limit) || limit < 0) throw errors.USAGE({ problem: `--${option} must be a whole number of at least 0.` });
      body[field] = limit;
    }
    write((await api.admin<{ secret: string }>('POST', '/admin/keys', body)).secret);
  },
};

const list: Command = {
  help: 'every key of the gateway, and what it has spent',
  options: {},
  run: async ({ api, write }) => {
    for (const { key, balance } of await api.admin<KeyState[]>('GET', '/admin/keys')) {
      const spent = balance ? `: ${balance.tokensToday} tokens today, ${balance.tokensThisMonth} this month` : '';
      write(`${key.id} ${key.name} of ${key.tenant}, ${key.priority.replace('PRIORITY_', '').toLowerCase()}${spent}`);
    }
  },
};

const revoke: Command = {
  help: 'ID: every gateway refuses the key from now on',
  options: {},
  run: async (context) => {
    context.write((await context.api.admin<{ message: string }>('DELETE', `/admin/keys/${wanted(context, 0, 'an id')}`)).message);
  },
};

export const keyCommands: Readonly<Record<string, Command>> = { create, list, revoke };
