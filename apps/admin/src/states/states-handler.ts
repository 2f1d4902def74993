import type { FastifyInstance } from 'fastify';
import { type Canary, CanaryGetStateResponseSchema, type Qos, QosGetStateResponseSchema, type ServiceClient } from '@mlx-serving/contracts';
import { callService } from '../http/error-answer.ts';
import { messageJson } from './message-json.ts';

/** Routes that show what the controllers know. */
export function addStateRoutes(server: FastifyInstance, qos: ServiceClient<typeof Qos>, canary: ServiceClient<typeof Canary>): void {
  server.get('/admin/qos', async () => messageJson(QosGetStateResponseSchema, await callService('qos', () => qos.getState({}))));
  server.get('/admin/canary', async () => messageJson(CanaryGetStateResponseSchema, await callService('canary', () => canary.getState({}))));
}
