import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Flags, ServiceClient } from '@mlx-serving/contracts';
import { pendingJson, propagationJson } from '../flags/flag-json.ts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, reasonText } from '../http/json-body.ts';

const decisionBody = z.strictObject({ reason: reasonText.optional() });

/** Routes of the changes that wait for a second person (SPEC F23). */
export function addApprovalRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  server.get('/admin/pending', async () => (await callService('flags', () => flags.listPendingChanges({}))).changes.map(pendingJson));

  for (const [name, approve] of [['approve', true], ['reject', false]] as const) {
    server.post<{ Params: { id: string } }>(`/admin/pending/:id/${name}`, async (request) => {
      const { reason } = readBody(decisionBody, request.body);
      const { propagation } = await callService('flags', () => flags.decidePendingChange({ id: request.params.id, approve, ...changeOf(request, reason) }));
      const done = approve ? 'The change is approved and done.' : 'The change is rejected.';
      return { success: true, message: done, ...(propagation ? { propagation: propagationJson(propagation) } : {}) };
    });
  }
}
