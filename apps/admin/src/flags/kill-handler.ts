import type { FastifyInstance } from 'fastify';
import type { Flags, ServiceClient } from '@mlx-serving/contracts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { propagationJson } from './flag-json.ts';

const MAX_REASON_LENGTH = 500;

/** The route of a kill. It needs neither a reason nor a body, so nothing that a body says or does not say refuses it (SPEC F23). */
export function addKillRoute(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  void server.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => done(null, reasonIn(String(text))));

    scope.post<{ Params: { name: string } }>('/admin/flags/:name/kill', async (request) => {
      const { name } = request.params;
      const reason = typeof request.body === 'string' ? request.body : '';
      const { propagation } = await callService('flags', () => flags.killFlag({ name, ...changeOf(request, reason) }));
      return { success: true, message: `Kill switch activated for ${name}`, ...propagationJson(propagation) };
    });
  });
}

/** The `reason` of a body of JSON, cut to its longest; nothing of anything else. */
function reasonIn(text: string): string {
  try {
    const body = JSON.parse(text) as { reason?: unknown } | null;
    return typeof body?.reason === 'string' ? body.reason.slice(0, MAX_REASON_LENGTH) : '';
  } catch {
    return '';
  }
}
