import type { Decision } from '@mlx-serving/contracts';

/** How many requests were before one that had to wait for its place. */
export const QUEUE_POSITION_HEADER = 'x-mlx-serving-queue-position';

/** The stamp of a decision, as headers of HTTP and as metadata of gRPC. */
export function decisionHeaders(decision: Decision): Record<string, string> {
  return {
    'x-request-id': decision.requestId,
    'x-mlx-serving-variant': decision.variant,
    'x-mlx-serving-flags': decision.enabledFlags.filter(isToken).join(','),
    'x-mlx-serving-revision': `flags=${decision.flagsRevision}, routing=${decision.routingRevision}`,
  };
}

/** Other tools may write flags of any name into the store; a header takes only these. */
function isToken(name: string): boolean {
  return /^[\w.-]+$/.test(name);
}
