import { quantile } from '../statistics.ts';
import type { BenchCase } from '../suite.ts';
import { CanarySystem } from './canary-system.ts';

const GATEWAYS = 4;
const ROUNDS = 200;
const DEAD_ROUNDS = 5;
/** Failing requests of which the last one decides, at a share of 20 %: of so many the test is sure. */
const DECIDING = 6;

let times: Promise<{ byHand: number[]; byReport: number[] }> | undefined;

async function rollbackTimes(): Promise<{ byHand: number[]; byReport: number[] }> {
  const system = await CanarySystem.start(GATEWAYS);
  const [byHand, byReport]: [number[], number[]] = [[], []];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await system.deploy(10 + (round % 2));
      byHand.push(await system.untilNothing(() => system.rollBack()));
      await system.deploy(20 + (round % 2));
      await system.failRequests(DECIDING - 1);
      byReport.push(await system.untilNothing(() => system.failRequest()));
    }
  } finally {
    await system.stop();
  }
  return { byHand, byReport };
}

async function deadLinkTimes(): Promise<number[]> {
  const system = await CanarySystem.start(GATEWAYS);
  const found: number[] = [];
  try {
    for (let round = 0; round < DEAD_ROUNDS; round++) {
      await system.deploy(10 + round);
      found.push(await system.untilNothing(() => system.signal('SIGSTOP')));
      system.signal('SIGCONT');
    }
  } finally {
    system.signal('SIGCONT');
    await system.stop();
  }
  return found;
}

/** With the gateway's own link and routing, the canary service as a process and a real Redis. */
export const rollbacksEverywhere: readonly BenchCase[] = [
  {
    name: `a rollback by hand: 0 % on all of ${GATEWAYS} gateways, P99 of ${ROUNDS}`,
    unit: 'ms',
    ours: async () => quantile((await (times ??= rollbackTimes())).byHand, 0.99),
    goal: { of: 'value', most: 250 },
  },
  {
    name: `a rollback by the controller, from the report that decides: 0 % on all of ${GATEWAYS} gateways, P99 of ${ROUNDS}`,
    unit: 'ms',
    ours: async () => quantile((await (times ??= rollbackTimes())).byReport, 0.99),
    goal: { of: 'value', most: 250 },
  },
  {
    name: `the canary service hangs, all links dead: 0 % on all of ${GATEWAYS} gateways, most of ${DEAD_ROUNDS}`,
    unit: 'ms',
    ours: async () => Math.max(...(await deadLinkTimes())),
    goal: { of: 'value', most: 5_000 },
  },
];
