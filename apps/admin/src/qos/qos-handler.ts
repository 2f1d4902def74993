import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { fromJson, type JsonObject, type MessageShape } from '@bufbuild/protobuf';
import { ExplainActionResponseSchema, ListActionsResponseSchema, type Qos, QosActionSchema, RecordedRequestSchema, type ReplayPoliciesResponse, type ServiceClient } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { callService } from '../http/error-answer.ts';
import { readBody } from '../http/json-body.ts';
import { messageJson } from '../states/message-json.ts';

/** A recording of 20 000 requests. */
const REPLAY_BODY_BYTES = 8 * 1024 * 1024;

const count = z.coerce.number().int().min(1).max(20_000).optional();
const actionsQuery = z.object({ limit: count, policy: z.string().max(128).default('') });
const recordingQuery = z.object({ limit: count });
const actionParams = z.object({ id: z.string().min(1).max(128) });
const replayBody = z.strictObject({ policies: z.array(z.record(z.string(), z.unknown())).max(1_000).default([]), requests: z.array(z.record(z.string(), z.unknown())).max(20_000).default([]) });

/** Routes about SLO policies: which there are, what was done because of them and why, and what others would have done. */
export function addQosRoutes(server: FastifyInstance, qos: ServiceClient<typeof Qos>): void {
  server.get('/admin/qos/policies', async () => {
    const { policiesJson } = await callService('qos', () => qos.listPolicies({}));
    return { policies: policiesJson.map((text) => JSON.parse(text) as unknown) };
  });
  server.get('/admin/qos/actions', async (request) => {
    const { limit = 50, policy } = readBody(actionsQuery, request.query);
    return messageJson(ListActionsResponseSchema, await callService('qos', () => qos.listActions({ limit, policy })));
  });
  server.get('/admin/qos/actions/:id', async (request) => {
    const { id } = readBody(actionParams, request.params);
    return messageJson(ExplainActionResponseSchema, await callService('qos', () => qos.explainAction({ id })));
  });
  server.get('/admin/qos/recording', async (request) => {
    const { limit = 1_000 } = readBody(recordingQuery, request.query);
    const { requests } = await callService('qos', () => qos.getRecording({ limit }));
    return { requests: requests.map((recorded) => messageJson(RecordedRequestSchema, recorded)) };
  });
  server.post('/admin/qos/replay', { bodyLimit: REPLAY_BODY_BYTES }, async (request) => {
    const { policies, requests } = readBody(replayBody, request.body);
    const recorded = requests.map((each) => readRecorded(each as JsonObject));
    const answer = await callService('qos', () => qos.replayPolicies({ policiesJson: policies.map((policy) => JSON.stringify(policy)), requests: recorded }));
    return replayJson(answer);
  });
}

function readRecorded(json: JsonObject): MessageShape<typeof RecordedRequestSchema> {
  try {
    return fromJson(RecordedRequestSchema, json);
  } catch (error) {
    throw errors.BODY_INVALID({ problem: `requests: ${(error as Error).message}` });
  }
}

function replayJson({ requests, evaluations, fromMs, toMs, actions, slos }: ReplayPoliciesResponse) {
  return {
    requests: Number(requests),
    evaluations: Number(evaluations),
    fromMs: Number(fromMs),
    toMs: Number(toMs),
    actions: actions.map((action) => messageJson(QosActionSchema, action)),
    slos: slos.map(({ policy, slo, verdicts, value }) => ({ policy, slo, value, verdicts: Object.fromEntries(Object.entries(verdicts).map(([verdict, times]) => [verdict, Number(times)])) })),
  };
}
