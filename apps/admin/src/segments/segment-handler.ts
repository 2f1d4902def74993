import type { FastifyInstance } from 'fastify';
import type { Flags, Segment, ServiceClient } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { definition, etag, ifRevision } from '../flags/flags-handler.ts';
import { propagationJson } from '../flags/flag-json.ts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';

type Named = { Params: { name: string } };

/** Routes of the segments (SPEC F6). */
export function addSegmentRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const all = async (): Promise<Segment[]> => (await callService('flags', () => flags.listFlags({}))).snapshot?.segments ?? [];

  server.get('/admin/segments', async () => (await all()).map(segmentJson));

  server.get<Named>('/admin/segments/:name', async ({ params }, reply) => {
    const found = (await all()).find(({ name }) => name === params.name);
    if (!found) throw errors.SEGMENT_UNKNOWN({ name: params.name });
    return reply.header('etag', etag(found)).send(segmentJson(found));
  });

  server.post<Named>('/admin/segments/:name', async (request, reply) => {
    const { name } = request.params;
    const { name: _, revision: __, ...body } = readBody(definition, request.body);
    const { segment, propagation } = await callService('flags', () => flags.setSegment({ name, definitionJson: JSON.stringify(body), ...changeOf(request), ...ifRevision(request) }));
    return reply.header('etag', etag(segment)).send({ success: true, message: `Segment ${name} updated.`, segment: segmentJson(segment!), propagation: propagationJson(propagation) });
  });

  server.delete<Named>('/admin/segments/:name', async (request) => {
    const { name } = request.params;
    const { propagation } = await callService('flags', () => flags.deleteSegment({ name, ...changeOf(request), ...ifRevision(request) }));
    return { success: true, message: `Segment ${name} deleted.`, propagation: propagationJson(propagation) };
  });
}

function segmentJson({ name, definitionJson, revision }: Segment): Record<string, unknown> {
  return { ...(JSON.parse(definitionJson) as Record<string, unknown>), name, revision: Number(revision) };
}
