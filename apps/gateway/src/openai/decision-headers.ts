import type { Decision } from '@mlx-serving/contracts';

/** How many requests were before one that had to wait for its place. */
export const QUEUE_POSITION_HEADER = 'x-mlx-serving-queue-position';

/** Most requests have the same flags on, in one list that nobody can change. */
const lists = new WeakMap<readonly string[], string>();

/** The stamp of a decision, as headers of HTTP and as metadata of gRPC. */
export function decisionHeaders(decision: Decision): Record<string, string> {
  return {
    'x-request-id': decision.requestId,
    'x-mlx-serving-variant': decision.variant,
    'x-mlx-serving-flags': listed(decision.enabledFlags),
    'x-mlx-serving-revision': `flags=${decision.flagsRevision}, routing=${decision.routingRevision}`,
  };
}

function listed(flags: readonly string[]): string {
  const known = lists.get(flags);
  if (known !== undefined) return known;
  const list = flags.filter(isToken).join(',');
  if (Object.isFrozen(flags)) lists.set(flags, list);
  return list;
}

/** Other tools may write flags of any name into the store; a header takes only these. */
function isToken(name: string): boolean {
  return /^[\w.-]+$/.test(name);
}
