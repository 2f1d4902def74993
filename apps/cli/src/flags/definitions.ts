import { readFile } from 'node:fs/promises';
import type { Command } from '../command.ts';
import { because, type Changed, pathOf, readObject, reason, tell, wanted } from './change.ts';

interface Shown {
  readonly name: string;
  readonly enabled: boolean;
  readonly killed: boolean;
  readonly rolloutPercentage: number;
  readonly revision: number;
}

export const list: Command = {
  help: 'every flag with its state',
  options: {},
  run: async ({ api, write }) => {
    for (const { name, enabled, killed, rolloutPercentage, revision } of await api.admin<Shown[]>('GET', '/admin/flags')) {
      write(`${name.padEnd(40)} ${killed ? 'KILLED' : enabled ? `${rolloutPercentage} %` : 'off'}`.padEnd(56) + ` revision ${revision}`);
    }
  },
};

export const get: Command = {
  help: 'NAME: one flag; --revision N or --at TIME as it was, --key KEY how it answered then',
  options: { revision: { type: 'string' }, at: { type: 'string' }, key: { type: 'string' } },
  run: async (context) => {
    const query = new URLSearchParams(Object.entries(context.values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
    context.write(JSON.stringify(await context.api.admin('GET', `${pathOf(wanted(context, 0, 'the name of a flag'))}?${query.toString()}`), null, 2));
  },
};

/** A change of a definition that is given as JSON. */
function write(help: string, method: 'POST' | 'PATCH'): Command {
  return {
    help,
    options: reason,
    run: async (context) => {
      const body = readObject(wanted(context, 1, 'JSON'));
      return tell(context.write, await context.api.admin<Changed>(method, `${pathOf(wanted(context, 0, 'the name of a flag'))}${because(context)}`, body));
    },
  };
}

export const set = write('NAME JSON: write a definition; --reason TEXT', 'POST');
export const patch = write('NAME JSON: change some fields; --reason TEXT', 'PATCH');

export const remove: Command = {
  help: 'NAME: delete a flag; --reason TEXT',
  options: reason,
  run: async (context) => tell(context.write, await context.api.admin<Changed>('DELETE', `${pathOf(wanted(context, 0, 'the name of a flag'))}${because(context)}`)),
};

export const preview: Command = {
  help: 'NAME JSON: how many recent keys a draft would turn on and off',
  options: {},
  run: async (context) => {
    const path = `${pathOf(wanted(context, 0, 'the name of a flag'))}/preview`;
    const { message } = await context.api.admin<{ message: string }>('POST', path, readObject(wanted(context, 1, 'JSON')));
    context.write(message);
  },
};

export const exportAll: Command = {
  help: 'all flags and segments as JSON',
  options: {},
  run: async ({ api, write: print }) => print(JSON.stringify(await api.admin('GET', '/admin/export'), null, 2)),
};

export const importAll: Command = {
  help: 'FILE: write the flags and segments of an export; no kill is cleared; --dry-run; --reason TEXT',
  options: { ...reason, 'dry-run': { type: 'boolean' } },
  run: async (context) => {
    const document = readObject(await readFile(wanted(context, 0, 'a file'), 'utf8'));
    const why = because(context);
    const query = context.values['dry-run'] ? `${why}${why ? '&' : '?'}dry_run=true` : why;
    const { success, message, results } = await context.api.admin<Changed & { results: { name: string; outcome: string; problem: string }[] }>('POST', `/admin/import${query}`, document);
    for (const { name, outcome, problem } of results) context.write(`${name.padEnd(40)} ${outcome}${problem ? `: ${problem}` : ''}`);
    context.write(message);
    return success ? 0 : 1;
  },
};
