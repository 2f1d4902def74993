import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Flag, Flags, ServiceClient } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { actorOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, reasonText } from '../http/json-body.ts';
import { ADDED_FIELDS, flagJson, propagationJson } from './flag-json.ts';

type Named = { Params: { name: string } };

const killBody = z.strictObject({ reason: reasonText.optional() });
const definition = z.record(z.string(), z.unknown(), 'must be a JSON object');

/** Routes under /admin/flags (SPEC F18). */
export function addFlagRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const call = <T>(make: () => Promise<T>): Promise<T> => callService('flags', make);
  const etag = (flag: Flag | undefined): string => `"${flag?.revision ?? 0n}"`;
  const present = async (name: string): Promise<Flag> => (await call(() => flags.getFlag({ name }))).flag!;

  server.get('/admin/flags', async () => {
    const { snapshot } = await call(() => flags.listFlags({}));
    return (snapshot?.flags ?? []).map(flagJson);
  });

  server.get<Named>('/admin/flags/:name', async ({ params }, reply) => {
    const flag = await present(params.name);
    return reply.header('etag', etag(flag)).send(flagJson(flag));
  });

  server.post<Named>('/admin/flags/:name', async (request, reply) => {
    const { name } = request.params;
    const body = readBody(definition, request.body);
    const definitionJson = JSON.stringify(Object.fromEntries(Object.entries(body).filter(([field]) => !(ADDED_FIELDS as readonly string[]).includes(field))));
    const ifRevision = readIfMatch(request);
    const write = { name, definitionJson, actor: actorOf(request), reason: '' };
    const { flag, propagation } = await call(() => flags.setFlag(ifRevision === undefined ? write : { ...write, ifRevision }));
    const still = flag?.kill ? ' It is still killed: only a revive turns it on again.' : '';
    return reply.header('etag', etag(flag)).send({ success: true, message: `Flag ${name} updated.${still}`, flag: flagJson(flag!), propagation: propagationJson(propagation) });
  });

  server.post<Named>('/admin/flags/:name/kill', async (request) => {
    const { name } = request.params;
    const { reason = '' } = readBody(killBody, request.body);
    const { propagation } = await call(() => flags.killFlag({ name, reason, actor: actorOf(request) }));
    return { success: true, message: `Kill switch activated for ${name}`, ...propagationJson(propagation) };
  });

  server.post<Named>('/admin/flags/:name/revive', async (request) => {
    const { name } = request.params;
    const { reason = '' } = readBody(killBody, request.body);
    const { propagation } = await call(() => flags.reviveFlag({ name, reason, actor: actorOf(request) }));
    const { flag } = await flags.getFlag({ name }).catch(() => ({ flag: undefined }));
    const still = flag && flagJson(flag)['killed'] ? '; it stays off while its definition says killSwitch: true' : '';
    return { success: true, message: `The kill of ${name} is lifted${still}`, ...propagationJson(propagation) };
  });

  server.get<Named>('/admin/flags/:name/metrics', async ({ params }) => {
    const answer = await call(() => flags.getFlagMetrics({ name: params.name }));
    const [enabled, disabled] = [Number(answer.enabled), Number(answer.disabled)];
    const total = enabled + disabled;
    return { enabled, disabled, enabledPercent: total === 0 ? null : (enabled / total) * 100 };
  });
}

/** The revision that the flag must still have, from If-Match; undefined when the caller does not care. */
function readIfMatch(request: FastifyRequest): bigint | undefined {
  const header = request.headers['if-match'];
  if (header === undefined || header === '*') return undefined;
  const revision = /^(?:W\/)?"?(\d{1,18})"?$/.exec(header)?.[1];
  if (revision === undefined) throw errors.IF_MATCH_INVALID();
  return BigInt(revision);
}
