import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type Flags, type Rollout, RolloutAction, type ServiceClient, StaleFlagSchema } from '@mlx-serving/contracts';
import { pendingJson } from '../flags/flag-json.ts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, reasonText } from '../http/json-body.ts';
import { messageJson } from '../states/message-json.ts';

type Named = { Params: { name: string } };

const startBody = z.strictObject({
  preset: z.string().default(''),
  stages: z.array(z.strictObject({ percentage: z.number(), wait_ms: z.number().int().min(0) })).default([]),
  reason: reasonText.optional(),
});
const controlBody = z.strictObject({ reason: reasonText.optional() });
const staleQuery = z.object({ stable_ms: z.coerce.number().int().min(0).default(0) });
const CONTROLS = { pause: RolloutAction.PAUSE, resume: RolloutAction.RESUME, abort: RolloutAction.ABORT } as const;

/** Routes of rollouts in stages (SPEC F24), and of flags that seem to be done with (SPEC F25). */
export function addRolloutRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  server.get('/admin/rollouts', async () => (await callService('flags', () => flags.listRollouts({}))).rollouts.map(rolloutJson));

  server.post<Named>('/admin/flags/:name/rollout', async (request, reply) => {
    const { preset, stages, reason } = readBody(startBody, request.body);
    const given = stages.map(({ percentage, wait_ms }) => ({ percentage, waitMs: BigInt(wait_ms) }));
    const { rollout, pending } = await callService('flags', () => flags.startRollout({ flag: request.params.name, preset, stages: given, ...changeOf(request, reason) }));
    if (pending) return reply.status(202).send({ success: false, message: `${pending.why} POST /admin/pending/${pending.id}/approve by somebody else does it.`, pending: pendingJson(pending) });
    return { success: true, message: `The rollout of ${request.params.name} has started.`, rollout: rolloutJson(rollout!) };
  });

  for (const [name, action] of Object.entries(CONTROLS)) {
    server.post<Named>(`/admin/flags/:name/rollout/${name}`, async (request) => {
      const { reason } = readBody(controlBody, request.body);
      const { rollout } = await callService('flags', () => flags.controlRollout({ flag: request.params.name, action, ...changeOf(request, reason) }));
      return { success: true, message: `The rollout of ${request.params.name} is ${rollout?.state}.`, rollout: rolloutJson(rollout!) };
    });
  }

  server.get('/admin/stale-flags', async (request) => {
    const { stable_ms } = readBody(staleQuery, request.query);
    const answer = await callService('flags', () => flags.listStaleFlags({ stableMs: BigInt(stable_ms) }));
    return answer.flags.map((flag) => messageJson(StaleFlagSchema, flag));
  });
}

function rolloutJson({ flag, stages, stage, state, note, nextAtMs, actor }: Rollout): Record<string, unknown> {
  const next = state === 'running' ? new Date(Number(nextAtMs)).toISOString() : null;
  return { flag, state, stage, stages: stages.map(({ percentage, waitMs }) => ({ percentage, wait_ms: Number(waitMs) })), next_at: next, note, actor };
}
