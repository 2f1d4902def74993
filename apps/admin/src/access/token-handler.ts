import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type AccessToken, AccessTokenSchema, type Flags, type ServiceClient } from '@mlx-serving/contracts';
import { actorOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';
import { messageJson } from '../states/message-json.ts';

const tokenBody = z.strictObject({ name: z.string(), role: z.string() });

/** Routes of the tokens. A secret is shown once, in the answer to its creation. */
export function addTokenRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const shown = (token: AccessToken): unknown => messageJson(AccessTokenSchema, token);

  server.get('/admin/tokens', async () => (await callService('flags', () => flags.listTokens({}))).tokens.map(shown));

  server.post('/admin/tokens', async (request, reply) => {
    const { name, role } = readBody(tokenBody, request.body);
    const { token, secret } = await callService('flags', () => flags.createToken({ name, role, actor: actorOf(request) }));
    return reply.status(201).header('cache-control', 'no-store').send({ token: shown(token!), secret });
  });

  server.delete<{ Params: { id: string } }>('/admin/tokens/:id', async (request) => {
    await callService('flags', () => flags.revokeToken({ id: request.params.id, actor: actorOf(request) }));
    return { success: true, message: 'The token is revoked.' };
  });
}
