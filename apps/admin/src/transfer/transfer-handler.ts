import type { FastifyInstance } from 'fastify';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Flags, ServiceClient } from '@mlx-serving/contracts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';

/** Below the largest message that the flag service takes. */
const MAX_IMPORT_BYTES = 3 * 1024 * 1024;

const exportQuery = z.object({ format: z.enum(['json', 'yaml']).default('json') });
const importQuery = z.object({ dry_run: z.enum(['true', 'false']).default('false') });

/** Routes that take all flags and segments out and in, as JSON or YAML. An import never clears a kill. */
export function addTransferRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  server.get('/admin/export', async (request, reply) => {
    const { format } = readBody(exportQuery, request.query);
    const { snapshot } = await callService('flags', () => flags.listFlags({}));
    const byName = (list: readonly { name: string; definitionJson: string }[] = []): Record<string, unknown> =>
      Object.fromEntries(list.map(({ name, definitionJson }) => [name, JSON.parse(definitionJson) as unknown]));
    const document = { segments: byName(snapshot?.segments), flags: byName(snapshot?.flags) };
    return format === 'yaml' ? reply.type('application/yaml').send(stringify(document)) : document;
  });

  server.post('/admin/import', { bodyLimit: MAX_IMPORT_BYTES }, async (request) => {
    const dryRun = readBody(importQuery, request.query).dry_run === 'true';
    const { results } = await callService('flags', () => flags.importFlags({ documentJson: JSON.stringify(request.body ?? null), dryRun, ...changeOf(request) }));
    const failed = results.filter(({ outcome }) => outcome === 'failed').length;
    const done = dryRun ? 'would be done' : 'done';
    return { success: failed === 0, message: failed === 0 ? `The import is ${done}.` : `${failed} entries failed.`, results: results.map(({ name, outcome, problem }) => ({ name, outcome, problem })) };
  });
}
