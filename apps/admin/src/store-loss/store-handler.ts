import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type Flags, GetStoreStateResponseSchema, type ServiceClient, StoreDecision } from '@mlx-serving/contracts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, reasonText } from '../http/json-body.ts';
import { messageJson } from '../states/message-json.ts';

const decisionBody = z.strictObject({ reason: reasonText.optional() });
const DECISIONS = { accept: StoreDecision.ACCEPT, reseed: StoreDecision.RESEED } as const;

/** Routes of the flag store: its state, and what holds after it lost data (SPEC F14). */
export function addStoreRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  server.get('/admin/store', async () => messageJson(GetStoreStateResponseSchema, await callService('flags', () => flags.getStoreState({}))));

  for (const [name, decision] of Object.entries(DECISIONS)) {
    server.post(`/admin/store/${name}`, async (request) => {
      const { reason } = readBody(decisionBody, request.body);
      const { revision } = await callService('flags', () => flags.settleStore({ decision, ...changeOf(request, reason) }));
      return { success: true, message: name === 'accept' ? 'What the store holds is in force.' : 'What was in force is in the store.', revision: Number(revision) };
    });
  }
}
