import type { Command } from '../command.ts';
import { readTarget } from './stages.ts';

interface Plan {
  readonly requestsPerSecond: number;
  readonly notes: readonly string[];
  readonly stages: readonly { readonly percentage: number; readonly requestsToDetectSlow: number; readonly requestsToPromote: number; readonly requestsAtRisk: number; readonly secondsToDetectSlow?: number; readonly secondsToPromote?: number }[];
}

/** A plan for a person. */
function planLines({ requestsPerSecond, stages, notes }: Plan): string[] {
  const time = (seconds: number | undefined): string => (seconds === undefined ? 'time unknown' : `about ${seconds < 120 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`}`);
  return [
    `Traffic over the last minute: ${requestsPerSecond.toFixed(1)} requests a second.`,
    ...stages.map((stage) =>
      stage.percentage > 0 && stage.percentage < 100
        ? `${stage.percentage} %: a canary 1.5 times slower is found after ${stage.requestsToDetectSlow} of its requests (${time(stage.secondsToDetectSlow)}), a good one promoted after ${stage.requestsToPromote} (${time(stage.secondsToPromote)}); at risk: ${stage.requestsAtRisk} requests.`
        : `${stage.percentage} %: there is nothing to compare with.`,
    ),
    ...notes,
  ];
}

export const plan: Command = {
  help: 'how long detection and promotion would take with the present traffic: --percentage N or --stages 1,10,50',
  options: { percentage: { type: 'string' }, stages: { type: 'string' } },
  run: async ({ api, write, values }) => {
    for (const line of planLines(await api.admin<Plan>('POST', '/admin/canary/plan', readTarget(values)))) write(line);
  },
};
