import type { FastifyInstance } from 'fastify';
import { create } from '@bufbuild/protobuf';
import { type ApiKey, ApiKeyBalanceSchema, ApiKeySchema, type Flags, Priority, type ServiceClient } from '@mlx-serving/contracts';
import { z } from 'zod';
import { actorOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';
import { messageJson } from '../states/message-json.ts';

const CLASSES = { interactive: Priority.INTERACTIVE, normal: Priority.NORMAL, batch: Priority.BATCH, background: Priority.BACKGROUND } as const;

const tokens = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0);

const keyBody = z.strictObject({
  name: z.string(),
  /** Default: the name. */
  tenant: z.string().default(''),
  priority: z.enum(Object.keys(CLASSES) as (keyof typeof CLASSES)[]).default('normal'),
  /** 0, the default of all four: no limit. */
  requests_per_minute: z.number().int().min(0).max(1_000_000).default(0),
  tokens_per_minute: tokens,
  tokens_per_day: tokens,
  tokens_per_month: tokens,
});

/** Routes of the keys with which clients call the gateways. A secret is shown once, in the answer to its creation. */
export function addKeyRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  const shown = (key: ApiKey): unknown => {
    const { secretHash: _, ...json } = messageJson(ApiKeySchema, key) as Record<string, unknown>;
    return json;
  };

  server.get('/admin/keys', async () => (await callService('flags', () => flags.listApiKeys({}))).keys.map(({ key, balance }) => ({ key: shown(key!), ...(balance ? { balance: messageJson(ApiKeyBalanceSchema, balance) } : {}) })));

  server.post('/admin/keys', async (request, reply) => {
    const body = readBody(keyBody, request.body);
    const key = create(ApiKeySchema, {
      name: body.name,
      tenant: body.tenant,
      priority: CLASSES[body.priority],
      requestsPerMinute: body.requests_per_minute,
      tokensPerMinute: BigInt(body.tokens_per_minute),
      tokensPerDay: BigInt(body.tokens_per_day),
      tokensPerMonth: BigInt(body.tokens_per_month),
    });
    const answer = await callService('flags', () => flags.createApiKey({ key, actor: actorOf(request) }));
    return reply.status(201).header('cache-control', 'no-store').send({ key: shown(answer.key!), secret: answer.secret });
  });

  server.delete<{ Params: { id: string } }>('/admin/keys/:id', async (request) => {
    await callService('flags', () => flags.revokeApiKey({ id: request.params.id, actor: actorOf(request) }));
    return { success: true, message: 'The key is revoked.' };
  });
}
