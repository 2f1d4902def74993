import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Flags, ListAuditResponse, ServiceClient } from '@mlx-serving/contracts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';
import { auditJson } from './audit-json.ts';

const instant = z
  .string()
  .refine((text) => !Number.isNaN(Date.parse(text)), 'must be a time such as 2025-01-08T12:00:00Z')
  .transform((text) => BigInt(Date.parse(text)));
const search = z.strictObject({
  flag: z.string().default(''),
  actor: z.string().default(''),
  action: z.string().default(''),
  text: z.string().default(''),
  since: instant.default(0n),
  until: instant.default(0n),
  before_revision: z.coerce.bigint().min(0n).default(0n),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  format: z.enum(['json', 'jsonl']).default('json'),
});

/** Routes of the audit trail (SPEC F22): search, export as lines of JSON, and verification. */
export function addAuditRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const page = (query: z.output<typeof search>, beforeRevision: bigint): Promise<ListAuditResponse> => {
    const { flag, actor, action, text, since, until, limit } = query;
    return callService('flags', () => flags.listAudit({ flag, actor, action, text, sinceMs: since, untilMs: until, beforeRevision, limit }));
  };

  async function* lines(query: z.output<typeof search>): AsyncGenerator<string> {
    for (let before: bigint | undefined = query.before_revision; before !== undefined; ) {
      const { entries, nextBeforeRevision }: ListAuditResponse = await page({ ...query, limit: 1_000 }, before);
      if (entries.length > 0) yield `${entries.map((entry) => JSON.stringify(auditJson(entry))).join('\n')}\n`;
      before = nextBeforeRevision;
    }
  }

  server.get('/admin/audit', async (request, reply) => {
    const query = readBody(search, request.query);
    if (query.format === 'jsonl') return reply.type('application/jsonl').send(Readable.from(lines(query)));
    const { entries, nextBeforeRevision } = await page(query, query.before_revision);
    return { entries: entries.map(auditJson), next_before_revision: nextBeforeRevision === undefined ? null : Number(nextBeforeRevision) };
  });

  server.get('/admin/audit/verify', async () => {
    const { intact, entries, headHash, problems } = await callService('flags', () => flags.verifyAudit({}));
    return { intact, entries: Number(entries), head_hash: headHash, problems };
  });
}
