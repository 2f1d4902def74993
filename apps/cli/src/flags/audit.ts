import type { Command } from '../command.ts';
import { type Changed, pathOf, readObject, reason, tell, wanted } from './change.ts';

interface Entry {
  readonly revision: number;
  readonly at: string;
  readonly actor: string;
  readonly reason: string;
  readonly action: string;
  readonly flag: string;
}

interface Explained {
  readonly enabled: boolean;
  readonly reason: string;
  readonly variant: string | null;
  readonly steps: readonly { check: string; detail: string }[];
}

export const audit: Command = {
  help: 'who changed what, newest first: --flag --actor --action --text --since --until --limit',
  options: { flag: { type: 'string' }, actor: { type: 'string' }, action: { type: 'string' }, text: { type: 'string' }, since: { type: 'string' }, until: { type: 'string' }, limit: { type: 'string' } },
  run: async ({ api, write, values }) => {
    const query = new URLSearchParams(Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
    const { entries } = await api.admin<{ entries: Entry[] }>('GET', `/admin/audit?${query.toString()}`);
    for (const { revision, at, actor, reason: why, action, flag } of entries) write(`${String(revision).padStart(6)} ${at} ${actor} ${action} ${flag}${why ? ` (${why})` : ''}`);
  },
};

export const verify: Command = {
  help: 'follow the chain of hashes of the audit trail; exit code 1 when an entry was edited, removed or moved',
  options: {},
  run: async ({ api, write }) => {
    const { intact, entries, head_hash, problems } = await api.admin<{ intact: boolean; entries: number; head_hash: string; problems: string[] }>('GET', '/admin/audit/verify');
    for (const problem of problems) write(problem);
    write(intact ? `${entries} entries, all intact. Head: ${head_hash}` : `The trail of ${entries} entries is not intact.`);
    return intact ? 0 : 1;
  },
};

export const diff: Command = {
  help: 'FROM [TO]: what changed between two revisions or times; TO is now by default',
  options: {},
  run: async (context) => {
    const [from, to] = [wanted(context, 0, 'a revision or a time'), context.positionals[1]];
    const { flags } = await context.api.admin<{ flags: object[] }>('GET', `/admin/diff?from=${encodeURIComponent(from)}${to === undefined ? '' : `&to=${encodeURIComponent(to)}`}`);
    for (const flag of flags) context.write(JSON.stringify(flag));
  },
};

export const revert: Command = {
  help: 'NAME REVISION: back to what the flag was; a kill stays; --reason TEXT',
  options: reason,
  run: async (context) => {
    const body = { revision: Number(wanted(context, 1, 'a revision')), ...(typeof context.values['reason'] === 'string' ? { reason: context.values['reason'] } : {}) };
    return tell(context.write, await context.api.admin<Changed>('POST', `${pathOf(wanted(context, 0, 'the name of a flag'))}/revert`, body));
  },
};

export const explain: Command = {
  help: 'NAME: how a flag answers, step by step: --key KEY, --attributes JSON; --revision N or --at TIME as it was',
  options: { key: { type: 'string' }, attributes: { type: 'string' }, revision: { type: 'string' }, at: { type: 'string' } },
  run: async (context) => {
    const { attributes, ...asked } = context.values;
    const body = { ...asked, ...(typeof attributes === 'string' ? { attributes: readObject(attributes) } : {}) };
    const answer = await context.api.admin<Explained>('POST', `${pathOf(wanted(context, 0, 'the name of a flag'))}/explain`, body);
    for (const { check, detail } of answer.steps) context.write(`${check.padEnd(14)} ${detail}`);
    context.write(`${answer.enabled ? 'on' : 'off'}: ${answer.reason}${answer.variant === null ? '' : `, variant ${answer.variant}`}`);
  },
};
