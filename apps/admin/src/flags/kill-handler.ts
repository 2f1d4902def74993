import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Flags, ServiceClient } from '@mlx-serving/contracts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { MAX_BODY_BYTES, shortReason } from '../http/json-body.ts';
import { propagationJson } from './flag-json.ts';

/** The route of a kill. It needs neither a reason nor a body, so nothing that a body says or does not say refuses it (SPEC F23). */
export function addKillRoute(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  void server.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', async (_request: FastifyRequest, body: IncomingMessage) => reasonIn(await beginningOf(body)));

    scope.post<{ Params: { name: string } }>('/admin/flags/:name/kill', async (request) => {
      const { name } = request.params;
      const reason = typeof request.body === 'string' ? request.body : '';
      const { propagation } = await callService('flags', () => flags.killFlag({ name, ...changeOf(request, reason) }));
      return { success: true, message: `Kill switch activated for ${name}`, ...propagationJson(propagation) };
    });
  });
}

/** What a body says as far as it is read; the rest goes by. */
async function beginningOf(body: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    if (bytes < MAX_BODY_BYTES) parts.push(part);
    bytes += part.length;
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The `reason` of a body of JSON, cut to its longest; nothing of anything else. */
function reasonIn(text: string): string {
  try {
    const body = JSON.parse(text) as { reason?: unknown } | null;
    return typeof body?.reason === 'string' ? shortReason(body.reason) : '';
  } catch {
    return '';
  }
}
