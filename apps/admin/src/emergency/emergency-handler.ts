import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Flags, ServiceClient } from '@mlx-serving/contracts';
import { emergencyJson, propagationJson } from '../flags/flag-json.ts';
import { changeOf } from '../http/actor.ts';
import { callService } from '../http/error-answer.ts';
import { readBody, shortReason } from '../http/json-body.ts';

/** A reason that is too long is cut: it is no ground for refusing an emergency. */
const emergencyBody = z.strictObject({
  kill_switch: z.boolean().optional(),
  rollback_to_baseline: z.boolean().optional(),
  reason: z.string().transform(shortReason).optional(),
});

/** Routes of the global emergency: read it, and set either switch. An absent switch keeps its value. */
export function addEmergencyRoutes(server: FastifyInstance, flags: ServiceClient<typeof Flags>): void {
  server.get('/admin/emergency', async () => {
    const { snapshot } = await callService('flags', () => flags.listFlags({}));
    return emergencyJson(snapshot?.emergency);
  });

  server.post('/admin/emergency', async (request) => {
    const { kill_switch: killSwitch, rollback_to_baseline: rollbackToBaseline, reason } = readBody(emergencyBody, request.body);
    const switches = { ...(killSwitch === undefined ? {} : { killSwitch }), ...(rollbackToBaseline === undefined ? {} : { rollbackToBaseline }) };
    const { emergency, propagation } = await callService('flags', () => flags.setEmergency({ ...switches, ...changeOf(request, reason) }));
    return { success: true, message: 'Emergency switches updated', emergency: emergencyJson(emergency), ...propagationJson(propagation) };
  });
}
