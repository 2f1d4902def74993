import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Metadata } from '@grpc/grpc-js';
import { createServiceClient, type GenerateResponse, Inference, type ServiceClient, StreamOutcome } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness } from './gateway-harness.ts';

const gateway = new Harness({ worker: new FakeWorker() });
let client: ServiceClient<typeof Inference>;

beforeAll(async () => {
  await gateway.start();
  client = createServiceClient(Inference, `127.0.0.1:${gateway.app.ports.grpc}`);
});
afterAll(async () => {
  client.close();
  await gateway.stop();
});
const hi = { case: 'prompt' as const, value: 'x' };
beforeEach(() => {
  gateway.worker.script = ['a', 'b'];
});

describe('the gRPC door', () => {
  it('streams the decision, the tokens and the end, and stamps the decision on the metadata', async () => {
    const metadata = new Metadata();
    metadata.set('x-request-id', 'grpc-1');
    const call = client.generate({ model: 'fake', input: { case: 'prompt', value: 'x' }, user: 'u' }, { metadata });
    const headers = new Promise<Metadata>((resolve) => call.once('metadata', resolve));
    const events: GenerateResponse['event'][] = [];
    for await (const { event } of call as AsyncIterable<GenerateResponse>) events.push(event);
    expect(events[0]).toMatchObject({ case: 'decision', value: { requestId: 'grpc-1', variant: 'baseline', enabledFlags: ['warm'] } });
    expect(events.slice(1, -1)).toMatchObject([{ case: 'generated', value: { text: 'a', tokenIds: [1] } }, { case: 'generated', value: { text: 'b', tokenIds: [2] } }]);
    expect(events.at(-1)).toMatchObject({ case: 'finished', value: { usage: { promptTokens: 7, completionTokens: 2 }, ttftMs: expect.any(Number) } });
    expect((await headers).get('x-mlx-serving-revision')).toEqual(['flags=12, routing=1']);
    expect(gateway.worker.generations.at(-1)?.request.sampling?.temperature).toBe(0);
  });

  it('cancels the worker when the caller does', async () => {
    gateway.worker.script = undefined;
    const count = gateway.worker.generations.length;
    const call = client.generate({ model: 'fake', input: { case: 'prompt', value: 'x' } });
    call.on('error', () => undefined);
    const generation = await gateway.worker.generation(count);
    call.cancel();
    await until(() => generation.cancelled);
    await until(async () => (await gateway.reports(1)).some((report) => report.outcome === StreamOutcome.CANCELLED));
  });

  it.each([
    ['no input', {}, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a schema that is no JSON', { input: hi, sampling: { jsonSchema: '{' } }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a schema that is no object', { input: hi, sampling: { jsonSchema: '[]' } }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a schema that is too deep', { input: hi, sampling: { jsonSchema: `${'{"not":'.repeat(1_000)}{}${'}'.repeat(1_000)}` } }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a tool that is no JSON', { input: { case: 'conversation' as const, value: { messages: [], toolsJson: ['{'] } } }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a tool without a function', { input: { case: 'conversation' as const, value: { messages: [], toolsJson: ['{"function": null}'] } }, toolChoice: 'auto' }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a user who is too long', { input: hi, user: 'u'.repeat(513) }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a model’s name that is too long', { input: hi, model: 'm'.repeat(257) }, 'INVALID_ARGUMENT', 'INVALID_REQUEST'],
    ['a model that is not there', { model: 'none', input: { case: 'prompt' as const, value: 'x' } }, 'NOT_FOUND', 'MODEL_NOT_FOUND'],
  ])('refuses %s', async (_, request, code, reason) => {
    const call = client.generate(request);
    const error = new Promise<Error>((resolve) => call.once('error', resolve));
    call.resume();
    expect(ServiceError.from(await error)).toMatchObject({ code, reason });
  });

  it('lists the models', async () => {
    expect((await client.listModels({})).models).toMatchObject([{ id: 'fake', created: 1_700_000_000n }]);
  });
});
