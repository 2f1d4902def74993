import { EXPECTED_SHARE, flagdCore, type FlagEvaluator, growthBook, launchDarkly, ours, statsigLocal, unleash } from '../flag-evaluators.ts';
import { heapGrowth, memoryOfFlags, microsecondsPerChange, nanosecondsPerQuestion, shareOn } from '../flag-load.ts';
import { EvaluationShare } from '../evaluation-share.ts';
import { killQuantiles, severedQuantiles } from '../kill-load.ts';
import type { BenchCase, BenchGoal, BenchSuite } from '../suite.ts';

const QUESTION = 'isEnabled, 50 % and one rule';
const booleans = ours();
const reasons = ours({ reason: true });
const share = new EvaluationShare();
const killAtFour = killQuantiles(4, (system) => system.addGateways(4));
const killAtThirtyTwo = killQuantiles(32, (system) => system.addLinks(32));
const killSevered = severedQuantiles(100);
const peers: Record<string, FlagEvaluator> = {};

/** Each library must answer what it was asked before its time says anything. */
async function setUp(): Promise<void> {
  const all = [flagdCore(), unleash(), growthBook(), await launchDarkly(), await statsigLocal()];
  for (const evaluator of [booleans, reasons, ...all]) {
    const share = await shareOn(evaluator);
    if (Math.abs(share - EXPECTED_SHARE) > 0.02) throw new Error(`${evaluator.name} is on for ${share} of the users, not for ${EXPECTED_SHARE}.`);
    for (let warm = 0; warm < 3; warm++) await nanosecondsPerQuestion(evaluator);
    peers[evaluator.name] = evaluator;
  }
}

async function tearDown(): Promise<void> {
  await share.stop();
  for (const { close } of Object.values(peers)) await close?.();
}

const against = (peerName: string, evaluator: FlagEvaluator, name: string, goal: BenchGoal): BenchCase => ({
  name,
  unit: 'ns',
  ours: () => nanosecondsPerQuestion(evaluator),
  peerName,
  peer: () => nanosecondsPerQuestion(peers[peerName]!),
  goal,
});

/** The same by the wall clock. */
const byTheClock = (peerName: string, goal: BenchGoal): BenchCase => ({
  ...against(peerName, booleans, `${QUESTION}, by the wall clock`, goal),
  ours: () => nanosecondsPerQuestion(booleans, 'wall'),
  peer: () => nanosecondsPerQuestion(peers[peerName]!, 'wall'),
});

/** Measured once: its spread is in its quantiles. */
const killCase = (who: string, quantiles: (share: number) => Promise<number>, percentile: number, most: number): BenchCase => ({
  name: `kill over REST, acknowledged by ${who}, p${percentile} of 1000`,
  unit: 'ms',
  pairs: 1,
  ours: () => quantiles(percentile / 100),
  goal: { of: 'value', most },
});


/** One flag of 50 % with one rule, in one process with the libraries that others use. */
export const suite: BenchSuite = {
  name: 'flags',
  description: 'nanoseconds of one question for 65536 users in turn, contexts ready, ours with its counters on',
  pairs: 9,
  setUp,
  tearDown,
  cases: [
    against('flagd-core', booleans, QUESTION, { of: 'ratio', most: 0.5 }),
    against('unleash-client', booleans, QUESTION, { of: 'ratio', most: 0.4 }),
    against('GrowthBook', booleans, QUESTION, { of: 'ratio', most: 1 }),
    against('LaunchDarkly', booleans, QUESTION, { of: 'ratio', most: 1 }),
    against('Statsig', booleans, QUESTION, { of: 'ratio', most: 1 }),
    against('flagd-core', reasons, 'the answer with its reason', { of: 'ratio', most: 0.8 }),
    byTheClock('flagd-core', { of: 'ratio', most: 0.5 }),
    byTheClock('unleash-client', { of: 'ratio', most: 0.4 }),
    { name: 'heap growth over 10 million questions', unit: 'MB', ours: () => heapGrowth(booleans, 1e7), goal: { of: 'value', most: 1 } },
    { name: 'memory of 10000 flags in a gateway', unit: 'MB', ours: async () => memoryOfFlags(10_000), goal: { of: 'value', most: 50 } },
    { name: 'change of one flag of 1000 in a gateway', unit: 'µs', ours: async () => microsecondsPerChange(1_000, 500), goal: { of: 'value', most: 100 } },
    ...[50, 99].map((percentile) => killCase('4 gateway processes', killAtFour, percentile, percentile === 50 ? 5 : 25)),
    ...[50, 99].map((percentile) => killCase('32 links of gateways in one process', killAtThirtyTwo, percentile, percentile === 50 ? 5 : 25)),
    {
      name: 'kill over REST until it has landed on 4 links of another flag service whose pub/sub is severed, longest of 100',
      unit: 'ms',
      pairs: 1,
      ours: () => killSevered(1),
      goal: { of: 'value', most: 1_500 },
    },
    {
      name: 'gateway request with the flags that ship, processor time',
      unit: 'µs',
      pairs: 25,
      ours: () => share.microsecondsPerRequest('on'),
      peerName: 'without flags',
      peer: () => share.microsecondsPerRequest('off'),
      goal: { of: 'ratio', most: 1.01 },
    },
    {
      name: 'evaluation of the flags that ship, processor time',
      unit: 'µs',
      ours: async () => share.microsecondsPerEvaluation(),
      peerName: 'a whole gateway request',
      peer: () => share.microsecondsPerRequest('on'),
      goal: { of: 'ratio', most: 0.01 },
    },
  ],
};
