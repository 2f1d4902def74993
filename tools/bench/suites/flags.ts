import { EXPECTED_SHARE, flagdCore, type FlagEvaluator, growthBook, launchDarkly, ours, statsigLocal, unleash } from '../flag-evaluators.ts';
import { heapGrowth, memoryOfFlags, microsecondsPerChange, nanosecondsPerQuestion, shareOn } from '../flag-load.ts';
import type { BenchCase, BenchGoal, BenchSuite } from '../suite.ts';

const booleans = ours();
const reasons = ours({ reason: true });
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

const QUESTION = 'isEnabled, 50 % and one rule';

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
    { name: 'heap growth over 10 million questions', unit: 'MB', ours: () => heapGrowth(booleans, 1e7), goal: { of: 'value', most: 1 } },
    { name: 'memory of 10000 flags in a gateway', unit: 'MB', ours: async () => memoryOfFlags(10_000), goal: { of: 'value', most: 50 } },
    { name: 'change of one flag of 1000 in a gateway', unit: 'µs', ours: async () => microsecondsPerChange(1_000, 500), goal: { of: 'value', most: 100 } },
  ],
};
