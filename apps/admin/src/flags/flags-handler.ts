import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Flag, Flags, PendingChange, Propagation, ServiceClient } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, reasonText } from '../http/json-body.ts';
import { ADDED_FIELDS, flagJson, impactJson, pendingJson, propagationJson } from './flag-json.ts';

type Named = { Params: { name: string } };

interface WriteAnswer {
  readonly flag?: Flag | undefined;
  readonly propagation?: Propagation | undefined;
  readonly pending?: PendingChange | undefined;
}

const reviveBody = z.strictObject({ reason: reasonText.optional() });
const revertBody = z.strictObject({ revision: z.number().int().min(1), reason: reasonText.optional() });
export const definition = z.record(z.string(), z.unknown(), 'must be a JSON object');

/** Routes under /admin/flags that read and change flags (SPEC F18). */
export function addFlagRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const call = <T>(make: () => Promise<T>): Promise<T> => callService('flags', make);

  server.get('/admin/flags', async () => {
    const { snapshot } = await call(() => flags.listFlags({}));
    return (snapshot?.flags ?? []).map(flagJson);
  });

  server.post<Named>('/admin/flags/:name', async (request, reply) => {
    const { name } = request.params;
    const definitionJson = definitionOf(request.body);
    const answer = await call(() => flags.setFlag({ name, definitionJson, ...changeOf(request), ...ifRevision(request) }));
    return sendWritten(reply, name, answer, () => flags.previewFlag({ name, definitionJson }));
  });

  server.patch<Named>('/admin/flags/:name', async (request, reply) => {
    const { name } = request.params;
    const patchJson = definitionOf(request.body);
    const answer = await call(() => flags.patchFlag({ name, patchJson, ...changeOf(request), ...ifRevision(request) }));
    return sendWritten(reply, name, answer, () => flags.previewFlag({ name, definitionJson: answer.pending?.after ?? '' }));
  });

  server.delete<Named>('/admin/flags/:name', async (request, reply) => {
    const { name } = request.params;
    const { pending, propagation } = await call(() => flags.deleteFlag({ name, ...changeOf(request), ...ifRevision(request) }));
    if (pending) return sendPending(reply, pending);
    return { success: true, message: `Flag ${name} deleted.`, propagation: propagationJson(propagation) };
  });

  server.post<Named>('/admin/flags/:name/revert', async (request, reply) => {
    const { name } = request.params;
    const { revision, reason } = readBody(revertBody, request.body);
    const answer = await call(() => flags.revertFlag({ name, revision: BigInt(revision), ...changeOf(request, reason) }));
    return sendWritten(reply, name, answer, () => flags.previewFlag({ name, definitionJson: answer.pending?.after ?? '' }));
  });

  server.post<Named>('/admin/flags/:name/revive', async (request) => {
    const { name } = request.params;
    const { reason } = readBody(reviveBody, request.body);
    const { propagation } = await call(() => flags.reviveFlag({ name, ...changeOf(request, reason) }));
    const { flag } = await flags.getFlag({ name }).catch(() => ({ flag: undefined }));
    const still = flag && flagJson(flag)['killed'] ? '; it stays off while its definition says killSwitch: true' : '';
    return { success: true, message: `The kill of ${name} is lifted${still}`, ...propagationJson(propagation) };
  });

  server.post<Named>('/admin/flags/:name/preview', async (request) => {
    const { name } = request.params;
    return impactJson(await call(() => flags.previewFlag({ name, definitionJson: definitionOf(request.body) })));
  });

  server.get<Named>('/admin/flags/:name/metrics', async ({ params }) => {
    const answer = await call(() => flags.getFlagMetrics({ name: params.name }));
    const [enabled, disabled] = [Number(answer.enabled), Number(answer.disabled)];
    const total = enabled + disabled;
    return { enabled, disabled, enabledPercent: total === 0 ? null : (enabled / total) * 100 };
  });
}

export function etag(held: { readonly revision: bigint } | undefined): string {
  return `"${held?.revision ?? 0n}"`;
}

function sendWritten(reply: FastifyReply, name: string, { flag, propagation, pending }: WriteAnswer, preview: () => ReturnType<ServiceClient<typeof Flags>['previewFlag']>) {
  if (pending) return sendPending(reply, pending, preview);
  const still = flag?.kill ? ' It is still killed: only a revive turns it on again.' : '';
  return reply.header('etag', etag(flag)).send({ success: true, message: `Flag ${name} updated.${still}`, flag: flagJson(flag!), propagation: propagationJson(propagation) });
}

/** Nothing was written: the change waits for a second person, who is shown what it would do. */
async function sendPending(reply: FastifyReply, pending: PendingChange, preview?: () => ReturnType<ServiceClient<typeof Flags>['previewFlag']>) {
  const impact = await preview?.().catch(() => undefined);
  return reply.status(202).send({ success: false, message: `${pending.why} POST /admin/pending/${pending.id}/approve by somebody else does it.`, pending: pendingJson(pending), ...(impact ? { impact: impactJson(impact) } : {}) });
}

function definitionOf(given: unknown): string {
  const body = readBody(definition, given);
  return JSON.stringify(Object.fromEntries(Object.entries(body).filter(([field]) => !(ADDED_FIELDS as readonly string[]).includes(field))));
}

/** The revision that the flag or segment must still have, from If-Match; nothing when the caller does not care. */
export function ifRevision(request: FastifyRequest): { ifRevision?: bigint } {
  const header = request.headers['if-match'];
  if (header === undefined || header === '*') return {};
  const revision = /^(?:W\/)?"?(\d{1,18})"?$/.exec(header)?.[1];
  if (revision === undefined) throw errors.IF_MATCH_INVALID();
  return { ifRevision: BigInt(revision) };
}
