import { sendJson } from '@mlx-serving/service-kit';
import type { DecisionCounter } from '../decision/decision-counts.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import { type HttpContext, readUserHeader } from '../http/http-context.ts';

/** GET /api/flags/{name}: whether a flag is on for the caller, and nothing else of it (SPEC F20). An unknown flag is off. */
export function createFlagHandler(store: FlagSnapshotStore, counts: DecisionCounter) {
  return ({ request, response, query, name }: HttpContext): void => {
    const key = readUserHeader(request.headers) ?? query.get('user') ?? undefined;
    const { enabled, reason } = store.state.flags.evaluate(name, { key, attributes: key === undefined ? {} : { user_id: key } });
    if (reason !== 'FLAG_NOT_FOUND') counts.add(name, enabled);
    response.setHeader('cache-control', 'no-store');
    sendJson(response, 200, { enabled });
  };
}
