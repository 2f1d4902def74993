import { setImmediate } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { FlagSchema, type Impact, type ImpactQuestion, ImpactSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { RecentContexts } from './recent-contexts.ts';

/** Contexts between two looks at what else there is to do. */
const SLICE = 250;

/** Counts what a draft of one flag would change for the recent contexts. The kill of the flag stays as it is. */
export async function previewImpact(question: ImpactQuestion, flags: FlagSnapshotStore, contexts: RecentContexts, environment: string): Promise<Impact> {
  const { flag: name, definitionJson } = question;
  const snapshot = flags.toSnapshot();
  const draft = new FlagSnapshotStore(silentLogger, { environment });
  const present = snapshot.flags.find((flag) => flag.name === name);
  snapshot.flags = [...snapshot.flags.filter((flag) => flag !== present), { ...(present ?? create(FlagSchema, { name })), definitionJson }];
  draft.apply(snapshot);
  const impact = create(ImpactSchema);
  for (const context of contexts.all) {
    const before = flags.flags.evaluate(name, context).enabled;
    const after = draft.flags.evaluate(name, context).enabled;
    if (after) impact.onAfter++;
    if (after && !before) impact.turnedOn++;
    if (before && !after) impact.turnedOff++;
    if (Number(++impact.contexts) % SLICE === 0) await setImmediate();
  }
  return impact;
}
