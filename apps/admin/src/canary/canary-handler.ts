import type { MessageInitShape } from '@bufbuild/protobuf';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type Canary, type CanaryControlRequestSchema, CanaryPlanResponseSchema, type CanaryRollout, CanaryRolloutSchema, type ServiceClient } from '@mlx-serving/contracts';
import { actorOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, reasonText } from '../http/json-body.ts';
import { messageJson } from '../states/message-json.ts';

const stage = z.strictObject({ percentage: z.number(), hold_ms: z.number().int().min(0).default(0), gate: z.boolean().default(false) });
const common = { reason: reasonText.default(''), force: z.boolean().default(false), dry_run: z.boolean().default(false) };
const plain = z.strictObject(common);
const target = { percentage: z.number().default(0), stages: z.array(stage).max(20).default([]) };

type Action = NonNullable<MessageInitShape<typeof CanaryControlRequestSchema>['action']>;
type Common = z.output<typeof plain>;

/** Routes that show, plan and move a rollout. Each may be repeated: `Idempotency-Key` is passed on. */
export function addCanaryRoutes(server: FastifyInstance, canary: ServiceClient<typeof Canary>): void {
  const control = async (request: FastifyRequest, { reason, force, dry_run: dryRun }: Common, action: Action) => {
    const idempotencyKey = String(request.headers['idempotency-key'] ?? '');
    const { rollout, changed, notes } = await callService('canary', () => canary.control({ idempotencyKey, actor: actorOf(request), reason, force, dryRun, action }));
    return { success: true, changed, notes, rollout: rolloutJson(rollout) };
  };
  server.get('/admin/canary/rollout', async () => rolloutJson((await callService('canary', () => canary.getState({}))).rollout));
  server.post('/admin/canary/plan', async (request) => {
    const { percentage, stages } = readBody(z.strictObject(target), request.body);
    return messageJson(CanaryPlanResponseSchema, await callService('canary', () => canary.plan({ percentage, stages: stages.map(toStage) })));
  });
  server.post('/admin/canary/deploy', async (request) => {
    const { percentage, stages, ...rest } = readBody(z.strictObject({ ...common, ...target }), request.body);
    return control(request, rest, { case: 'deploy', value: { percentage, stages: stages.map(toStage) } });
  });
  server.post('/admin/canary/promote', async (request) => {
    const { full, ...rest } = readBody(z.strictObject({ ...common, full: z.boolean().default(false) }), request.body);
    return control(request, rest, { case: 'promote', value: { full } });
  });
  server.post('/admin/canary/rollback', async (request) => {
    const { gradual, move_unstarted: moveUnstarted, ...rest } = readBody(z.strictObject({ ...common, gradual: z.boolean().default(false), move_unstarted: z.boolean().default(false) }), request.body);
    return control(request, rest, { case: 'rollback', value: { gradual, moveUnstarted } });
  });
  for (const name of ['pause', 'resume', 'abort', 'retry'] as const) {
    server.post(`/admin/canary/${name}`, async (request) => control(request, readBody(plain, request.body), { case: name, value: {} }));
  }
}

function toStage({ percentage, hold_ms: holdMs, gate }: z.output<typeof stage>) {
  return { percentage, holdMs: BigInt(holdMs), gate };
}

function rolloutJson(rollout: CanaryRollout | undefined) {
  return rollout ? messageJson(CanaryRolloutSchema, rollout) : null;
}
