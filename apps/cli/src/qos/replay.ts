import { readFile, writeFile } from 'node:fs/promises';
import { readNumber } from '../canary/stages.ts';
import type { Command } from '../command.ts';
import { errors } from '../errors.ts';
import { type Action, actionLine, round } from './action-line.ts';
import { readPolicies } from './read-policies.ts';

interface Replay {
  readonly requests: number;
  readonly evaluations: number;
  readonly actions: readonly Action[];
  readonly slos: readonly { readonly policy: string; readonly slo: string; readonly value?: number; readonly verdicts: Readonly<Record<string, number>> }[];
}

function lines({ requests, evaluations, actions, slos }: Replay): string[] {
  return [
    `${requests} requests, ${evaluations} evaluations`,
    ...slos.map(({ policy, slo, value, verdicts }) => `${policy}/${slo}: ${Object.entries(verdicts).map(([verdict, times]) => `${verdict} ${times}`).join(', ') || 'never judged'}${value === undefined ? '' : `; ${round(value)} over all`}`),
    ...actions.map(actionLine),
  ];
}

export const record: Command = {
  help: 'the requests of late as lines of JSON, without prompts or users: --output FILE, --limit N',
  options: { output: { type: 'string' }, limit: { type: 'string' } },
  run: async ({ api, write, values }) => {
    const { requests } = await api.admin<{ requests: object[] }>('GET', `/admin/qos/recording?limit=${readNumber('limit', values['limit'] ?? '20000')}`);
    const text = requests.map((each) => JSON.stringify(each)).join('\n');
    if (typeof values['output'] !== 'string') return write(text);
    await writeFile(values['output'], `${text}\n`);
    write(`${requests.length} requests written to ${values['output']}`);
  },
};

export const dryRun: Command = {
  help: 'what the policies of FILE would have done with the requests of late',
  options: {},
  run: async ({ api, write, positionals }) => {
    const policies = await readPolicies(positionals[0]);
    for (const line of lines(await api.admin<Replay>('POST', '/admin/qos/replay', { policies }))) write(line);
  },
};

export const replay: Command = {
  help: 'what policies would have done with RECORDING (of `qos record`): --policies FILE; default: those in force',
  options: { policies: { type: 'string' } },
  run: async ({ api, write, values, positionals: [path] }) => {
    if (path === undefined) throw errors.USAGE({ problem: 'Name a recording.' });
    const text = await readFile(path, 'utf8').catch(() => {
      throw errors.USAGE({ problem: `${path} cannot be read.` });
    });
    const requests = text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as unknown);
    const policies = typeof values['policies'] === 'string' ? await readPolicies(values['policies']) : [];
    for (const line of lines(await api.admin<Replay>('POST', '/admin/qos/replay', { policies, requests }))) write(line);
  },
};
