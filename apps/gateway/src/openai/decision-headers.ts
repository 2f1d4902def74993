import type { Decision } from '@mlx-serving/contracts';

/** How many requests were before one that had to wait for its place. */
export const QUEUE_POSITION_HEADER = 'x-mlx-serving-queue-position';

/** Most requests have the same flags on, in one list that nobody can change. */
const lists = new WeakMap<readonly string[], string>();
/** Characters of the list of flags. Node's clients take no head beyond 16 KiB, and gRPC's default is 8 KiB. */
const LONGEST_LIST = 4_096;

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
  const list = shortList(flags.filter(isToken));
  if (Object.isFrozen(flags)) lists.set(flags, list);
  return list;
}

/** Other tools may write flags of any name into the store; a header takes only these. */
function isToken(name: string): boolean {
  return /^[\w.-]+$/.test(name);
}

/** As many of the names as fit, and how many more there are: `a,b,+3`. */
function shortList(names: readonly string[]): string {
  const whole = names.join(',');
  if (whole.length <= LONGEST_LIST) return whole;
  const end = whole.lastIndexOf(',', LONGEST_LIST - `,+${names.length}`.length);
  if (end <= 0) return `+${names.length}`;
  const shown = whole.slice(0, end);
  return `${shown},+${names.length - shown.split(',').length}`;
}
