import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Canary, CanaryRollout, ServiceClient } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';

const BAD_PHASES: ReadonlySet<string> = new Set(['rolled_back', 'rolling_back', 'aborted']);

/** What Flagger sends to every webhook. */
const flaggerBody = z.object({ name: z.string(), namespace: z.string(), phase: z.string(), checksum: z.string().optional(), metadata: z.record(z.string(), z.string()).optional() });

/**
 * The judge for users of other engines: a web metric for Argo Rollouts (`jsonPath: "{$.data}"`), and the webhooks of Flagger,
 * which takes 2xx for yes: `confirm-rollout`, `pre-rollout`, `rollout` and `confirm-traffic-increase` (nothing bad is known),
 * `confirm-promotion` (surely not worse), `rollback` (it is bad); `post-rollout` and `event` tell, and are taken.
 */
export function addEngineRoutes(server: FastifyInstance, canary: ServiceClient<typeof Canary>): void {
  const rollout = async (): Promise<CanaryRollout | undefined> => (await callService('canary', () => canary.getState({}))).rollout;
  server.get('/admin/canary/argo', async () => {
    const found = await rollout();
    const bad = isBad(found);
    return { data: { ok: isProven(found), failed: bad, inconclusive: !bad && !isProven(found), status: found?.status ?? '', progress: found?.judgement?.promotionProgress ?? 0 } };
  });
  const isGood = (found: CanaryRollout | undefined): boolean => !isBad(found);
  const isTaken = (): boolean => true;
  const answers: Record<string, (found: CanaryRollout | undefined) => boolean> = {
    'confirm-rollout': isGood,
    'pre-rollout': isGood,
    rollout: isGood,
    'confirm-traffic-increase': isGood,
    'confirm-promotion': isProven,
    rollback: isBad,
    'post-rollout': isTaken,
    event: isTaken,
  };
  for (const [kind, isYes] of Object.entries(answers)) {
    server.post(`/admin/canary/flagger/${kind}`, async (request) => {
      readBody(flaggerBody, request.body);
      const found = await rollout();
      if (!isYes(found)) throw errors.ENGINE_REFUSED({ status: found?.status ?? 'unknown' });
      return { status: found?.status ?? '' };
    });
  }
}

/** What the controller itself would take back, whether it may act or not. */
function isBad(rollout: CanaryRollout | undefined): boolean {
  return rollout !== undefined && (BAD_PHASES.has(rollout.phase) || rollout.judgement?.fired.some(({ severity }) => severity === 'critical') === true);
}

/** What the controller itself would move on. */
function isProven(rollout: CanaryRollout | undefined): boolean {
  return rollout?.phase === 'promoted' || (rollout?.judgement?.safe === true && !isBad(rollout));
}
