import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create } from '@bufbuild/protobuf';
import { FlagDeltaSchema, FlagSnapshotSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { FlagSnapshotStore } from '../../apps/gateway/src/decision/flag-snapshot-store.ts';
import { type FlagEvaluator, USERS } from './flag-evaluators.ts';

const BATCHES = 3;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Nanoseconds of one question: of processor time, so that what else runs on the machine counts less, or by the wall clock. */
export async function nanosecondsPerQuestion(evaluator: FlagEvaluator, clock: 'cpu' | 'wall' = 'cpu'): Promise<number> {
  const [began, beganAt] = [process.cpuUsage(), performance.now()];
  await askAll(evaluator);
  const elapsed = performance.now() - beganAt;
  const { user, system } = process.cpuUsage(began);
  return (clock === 'wall' ? elapsed * 1e6 : (user + system) * 1_000) / (BATCHES * USERS.length);
}

/** Questions that must be awaited are. */
async function askAll({ ask }: FlagEvaluator): Promise<void> {
  const awaited = typeof ask(0) !== 'boolean';
  for (let batch = 0; batch < BATCHES; batch++) {
    if (awaited) for (let user = 0; user < USERS.length; user++) await ask(user);
    else for (let user = 0; user < USERS.length; user++) void ask(user);
  }
}

export async function shareOn({ ask }: FlagEvaluator): Promise<number> {
  let on = 0;
  for (let user = 0; user < USERS.length; user++) if (await ask(user)) on++;
  return on / USERS.length;
}

/** Megabytes of heap in use once everything that can go has gone. */
function heapMegabytes(): number {
  collect();
  collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

export async function heapGrowth(evaluator: FlagEvaluator, questions: number): Promise<number> {
  await shareOn(evaluator);
  const before = heapMegabytes();
  for (let asked = 0; asked < questions; asked++) void evaluator.ask(asked % USERS.length);
  return heapMegabytes() - before;
}

const flag = (index: number, revision: bigint, rolloutPercentage: number) => ({
  name: `feature_${index}`,
  revision,
  definitionJson: JSON.stringify({ enabled: true, rolloutPercentage, hashSeed: `seed-${index}`, whitelist: ['user-1', 'user-2'], rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] }),
});

function storeOf(count: number): FlagSnapshotStore {
  const store = new FlagSnapshotStore(silentLogger);
  store.apply(create(FlagSnapshotSchema, { revision: 1n, flags: Array.from({ length: count }, (_, index) => flag(index, 1n, 50)) }));
  return store;
}

/** Megabytes that so many flags take in a gateway: definitions, messages and what is compiled. */
export function memoryOfFlags(count: number): number {
  const before = heapMegabytes();
  const store = storeOf(count);
  const taken = heapMegabytes() - before;
  if (store.state.flags.names.length !== count) throw new Error('Flags are missing.');
  return taken;
}

/** Median microseconds for which a gateway does nothing else while one flag of `count` changes. */
export function microsecondsPerChange(count: number, changes: number): number {
  const store = storeOf(count);
  const times: number[] = [];
  for (let change = 1; change <= changes; change++) {
    const delta = create(FlagDeltaSchema, { baseRevision: BigInt(change), revision: BigInt(change + 1), changed: [flag((change * 7) % count, BigInt(change + 1), change % 100)] });
    const began = performance.now();
    if (!store.applyDelta(delta, 0)) throw new Error('The change was refused.');
    store.toSnapshot();
    times.push((performance.now() - began) * 1_000);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length * 0.5)] ?? 0;
}
