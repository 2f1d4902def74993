import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Flag, Flags, GetFlagsAtResponse, ServiceClient } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { etag } from '../flags/flags-handler.ts';
import { flagJson } from '../flags/flag-json.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';
import { auditJson } from './audit-json.ts';

type Named = { Params: { name: string } };
type Moment = { case: 'revision'; value: bigint } | { case: 'atMs'; value: bigint };

const past = z.object({ revision: z.string().optional(), at: z.string().optional(), key: z.string().optional(), attributes: z.string().default('') });
const explained = z.strictObject({ key: z.string().optional(), attributes: z.record(z.string(), z.unknown()).default({}), revision: z.string().optional(), at: z.string().optional() });
const range = z.object({ from: z.string(), to: z.string().optional() });

/** Routes that look at flags as they are and as they were: at a revision or a time, the history of one, and what changed between two. */
export function addHistoryRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const at = (moment: Moment | undefined, name: string, context: { key?: string; attributesJson?: string } = {}): Promise<GetFlagsAtResponse> =>
    callService('flags', () => flags.getFlagsAt({ ...(moment ? { moment } : {}), name, ...context }));

  server.get<Named>('/admin/flags/:name', async (request, reply) => {
    const { name } = request.params;
    const { revision, at: time, key, attributes } = readBody(past, request.query);
    const moment = momentOf(revision ?? time);
    if (!moment) {
      const { flag } = await callService('flags', () => flags.getFlag({ name }));
      return reply.header('etag', etag(flag)).send(flagJson(flag!));
    }
    const { snapshot, enabled, reason } = await at(moment, name, { attributesJson: attributes, ...(key === undefined ? {} : { key }) });
    return { ...flagJson(snapshot!.flags[0]!), evaluation: { enabled, reason, emergency: snapshot?.emergency?.killSwitch ?? false } };
  });

  server.post<Named>('/admin/flags/:name/explain', async ({ params, body }) => {
    const { key, attributes, revision, at: time } = readBody(explained, body);
    const context = { attributesJson: JSON.stringify(attributes), ...(key === undefined ? {} : { key }) };
    const { enabled, reason, standardReason, variant, steps, snapshot } = await at(momentOf(revision ?? time), params.name, context);
    const way = steps.map(({ check, detail }) => ({ check, detail }));
    return { flag: params.name, enabled, reason, standard_reason: standardReason, variant: variant || null, revision: Number(snapshot?.revision ?? 0n), steps: way };
  });

  server.get<Named>('/admin/flags/:name/history', async ({ params, query }) => {
    const { before } = query as { before?: string };
    const beforeRevision = /^\d{1,18}$/.test(before ?? '') ? BigInt(before!) : 0n;
    const { entries, nextBeforeRevision } = await callService('flags', () => flags.listAudit({ flag: params.name, beforeRevision, limit: 100 }));
    return { entries: entries.map(auditJson), next_before_revision: nextBeforeRevision === undefined ? null : Number(nextBeforeRevision) };
  });

  server.get('/admin/diff', async (request) => {
    const { from, to } = readBody(range, request.query);
    const [first, second] = [await at(momentOf(from), ''), to === undefined ? await callService('flags', () => flags.listFlags({})) : await at(momentOf(to), '')];
    return { from: Number(first.snapshot?.revision ?? 0n), to: Number(second.snapshot?.revision ?? 0n), flags: difference(first.snapshot?.flags ?? [], second.snapshot?.flags ?? []) };
  });
}

/** A revision, or a time such as 2025-01-08T12:00:00Z. */
function momentOf(text: string | undefined): Moment | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,18}$/.test(text)) return { case: 'revision', value: BigInt(text) };
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw errors.MOMENT_INVALID({ problem: `${text} is neither a revision nor a time such as 2025-01-08T12:00:00Z.` });
  return { case: 'atMs', value: BigInt(time) };
}

/** By flag: its fields that differ, before and after. A flag that was not there has null on that side. */
function difference(before: readonly Flag[], after: readonly Flag[]): Record<string, unknown>[] {
  const sides = [before, after].map((flags) => new Map(flags.map((flag) => [flag.name, comparable(flag)])));
  const names = [...new Set(sides.flatMap((side) => [...side.keys()]))].sort();
  return names.flatMap((name) => {
    const [old, now] = sides.map((side) => side.get(name));
    if (!old || !now) return [{ name, before: old ?? null, after: now ?? null }];
    const fields = [...new Set([...Object.keys(old), ...Object.keys(now)])].filter((field) => JSON.stringify(old[field]) !== JSON.stringify(now[field]));
    const pick = (side: Record<string, unknown>): Record<string, unknown> => Object.fromEntries(fields.map((field) => [field, side[field] ?? null]));
    return fields.length === 0 ? [] : [{ name, before: pick(old), after: pick(now) }];
  });
}

function comparable(flag: Flag): Record<string, unknown> {
  const { revision: _, kill: __, ...fields } = flagJson(flag);
  return fields;
}
