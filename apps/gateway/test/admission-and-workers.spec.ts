import { afterEach, describe, expect, it } from '@jest/globals';
import { createServiceClient, FinishReason, Inference, StreamOutcome } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeWorker, until } from '@mlx-serving/testing';
import { HealthWatch } from '../src/workers/health-watch.ts';
import { errorOf, events, Harness, type Setup } from './gateway-harness.ts';

let gateway: Harness;
afterEach(() => gateway.stop());

async function start(setup: Setup = {}): Promise<Harness> {
  gateway = await new Harness(setup).start();
  return gateway;
}

const depth = (count: number) => until(async () => (await gateway.metric('mlx_serving_gateway_queue_depth')) === String(count));

describe('admission', () => {
  it('queues beyond the limit in order, and refuses beyond the queue with 429 and Retry-After', async () => {
    await start({ runtime: { max_concurrent_streams: 1, max_queued_requests: 1 } });
    const first = gateway.chat();
    const generation = await gateway.worker.generation(0);
    const second = gateway.chat();
    await depth(1);
    const refused = await gateway.chat();
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, expect.any(Number)]);
    expect(refused.headers.get('x-mlx-serving-variant')).toBe('baseline');
    expect(await errorOf(refused)).toMatchObject({ type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    generation.accept().finish();
    expect((await first).status).toBe(200);
    (await gateway.worker.generation(1)).accept().finish(FinishReason.LENGTH);
    expect(await (await second).json()).toMatchObject({ choices: [{ finish_reason: 'length' }] });
    expect((await gateway.reports(3)).map((report) => [report.outcome, report.errorReason])).toEqual([
      [StreamOutcome.REJECTED, 'QUEUE_FULL'],
      [StreamOutcome.OK, ''],
      [StreamOutcome.OK, ''],
    ]);
  });

  it('ends a request with 504 when its time is over, also in the queue', async () => {
    await start({ runtime: { max_concurrent_streams: 1, timeout_ms: 50 } });
    const [first, second] = await Promise.all([gateway.chat(), gateway.chat()]);
    expect([first.status, second.status]).toEqual([504, 504]);
    expect((await gateway.reports(2)).every((report) => report.outcome === StreamOutcome.FAILED)).toBe(true);
  });

  it('takes limits from runtime.yaml again after a reload, and keeps the old ones when the file is wrong', async () => {
    await start({ runtime: { timeout_ms: 50 } });
    expect((await gateway.chat()).status).toBe(504);
    await gateway.configure({ max_messages: 1, timeout_ms: 60_000 });
    await gateway.app.reload?.();
    const messages = [1, 2].map(() => ({ role: 'user', content: 'x' }));
    expect((await gateway.chat({ messages })).status).toBe(400);
    await gateway.configure({ max_messages: 0 });
    await gateway.app.reload?.();
    expect((await gateway.chat({ messages })).status).toBe(400);
    expect(await gateway.metric('mlx_serving_gateway_refused_configurations_total')).toBe('1');
  });

  it('holds to the limit that qos lends and acknowledges it', async () => {
    await start();
    gateway.qos.lend({ id: 'tight', ttlMs: 60_000, limit: 1 });
    await gateway.qos.until(() => gateway.qos.all('acknowledgement').some(({ leaseId }) => leaseId === 'tight'));
    const both = [gateway.chat(), gateway.chat()];
    await depth(1);
    gateway.qos.lend({ id: 'loose', ttlMs: 60_000, limit: 2 });
    for (const index of [0, 1]) (await gateway.worker.generation(index)).accept().finish();
    expect((await Promise.all(both)).map((response) => response.status)).toEqual([200, 200]);
  });

  it('returns to its own limit when the lease is not renewed', async () => {
    await start({ runtime: { max_concurrent_streams: 2 } });
    gateway.qos.lend({ id: 'short', ttlMs: 1_500, limit: 1 });
    await until(async () => (await gateway.metric('mlx_serving_gateway_concurrency_limit')) === '1');
    await until(async () => (await gateway.metric('mlx_serving_gateway_concurrency_limit')) === '2');
  });
});

describe('workers', () => {
  it('sends a request to a second worker when the first is gone before its first token', async () => {
    const workers = [new FakeWorker(), new FakeWorker()] as const;
    await start({ worker: workers[0], moreWorkers: [workers[1]] });
    const answer = gateway.chat({ stream: true });
    await until(() => workers.some((worker) => worker.generations.length === 1));
    const [first, second] = workers[0].generations.length === 1 ? workers : [workers[1], workers[0]];
    first.generations[0]?.accept();
    await first.kill();
    const generation = (await second.generation(0)).accept();
    generation.tokens('saved');
    generation.finish();
    expect(await (await answer).text()).toContain('saved');
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({ outcome: StreamOutcome.OK, workerId: second.address });
    expect(await gateway.metric('mlx_serving_gateway_worker_retries_total')).toBe('1');
  });

  it('answers 503 when the only worker is gone before the first token, and is not ready', async () => {
    await start();
    const answer = gateway.chat({ stream: true });
    await gateway.worker.generation(0);
    await gateway.worker.kill();
    const response = await answer;
    expect([response.status, (await errorOf(response)).type]).toEqual([503, 'server_error']);
    await until(async () => (await gateway.get('/health/ready')).status === 503);
    expect((await errorOf(await gateway.chat())).code).toBe('no_worker');
    await gateway.worker.start();
    await until(async () => (await gateway.get('/health/ready')).status === 200);
  });

  it('ends a stream with an error event and without [DONE] when the worker is lost after the first token and answers may not go on', async () => {
    await start({ moreWorkers: [new FakeWorker()], runtime: { continue_streams: false } });
    const answer = gateway.chat({ stream: true });
    await until(() => gateway.workers.some((worker) => worker.generations.length === 1));
    const worker = gateway.workers.find(({ generations }) => generations.length === 1)!;
    worker.generations[0]!.accept().tokens('one');
    const response = await answer;
    await worker.kill();
    const chunks = events(await response.text());
    expect([response.status, chunks.at(-1)]).toEqual([200, { error: { message: expect.any(String), type: 'server_error', param: null, code: 'worker_lost' } }]);
    expect((await gateway.reports(1))[0]).toMatchObject({ outcome: StreamOutcome.FAILED, errorReason: 'WORKER_LOST' });
  });

  it('passes a full worker on as 429 with its own time to retry after', async () => {
    await start();
    const answer = gateway.chat();
    (await gateway.worker.generation(0)).fail(new ServiceError('RESOURCE_EXHAUSTED', 'QUEUE_FULL', '9 requests wait already', { retryAfterMs: 2_500 }));
    const response = await answer;
    expect([response.status, response.headers.get('retry-after'), (await errorOf(response)).type]).toEqual([429, '3', 'rate_limit_error']);
    expect((await gateway.reports(1))[0]?.outcome).toBe(StreamOutcome.REJECTED);
  });

  it('shows nothing of an unexpected fault', async () => {
    await start();
    const answer = gateway.chat();
    (await gateway.worker.generation(0)).fail(ServiceError.from(new Error('secret path')));
    const response = await answer;
    expect([response.status, JSON.stringify(await response.json())]).toEqual([500, expect.not.stringContaining('secret')]);
  });

  it('spreads different requests over the workers that have the least to do', async () => {
    const more = [new FakeWorker(), new FakeWorker()];
    await start({ moreWorkers: more });
    await until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === '3');
    const answers = [1, 2, 3].map((topic) => gateway.chat({ messages: [{ role: 'user', content: `${topic} is another topic` }] }));
    await until(() => gateway.workers.every((worker) => worker.generations.length === 1));
    for (const worker of gateway.workers) worker.generations[0]?.accept().finish();
    await Promise.all(answers);
  });
});

describe('a stop', () => {
  it('lets running streams end, and takes no new ones', async () => {
    await start();
    const answer = gateway.chat({ stream: true });
    const generation = (await gateway.worker.generation(0)).accept();
    generation.tokens('one');
    const response = await answer;
    const client = createServiceClient(Inference, `127.0.0.1:${gateway.app.ports.grpc}`);
    const health = new HealthWatch(client.channel, () => undefined);
    health.start();
    await until(() => health.serving);
    const stopped = gateway.app.stop();
    await expect(gateway.chat()).rejects.toThrow();
    // Load balancers of gRPC hear of it while it drains.
    await until(() => !health.serving);
    await expect(client.listModels({})).resolves.toBeDefined();
    const refused = client.generate({ model: 'fake', input: { case: 'prompt', value: 'x' } });
    const error = new Promise((resolve) => refused.once('error', resolve));
    expect(ServiceError.from(await error)).toMatchObject({ code: 'UNAVAILABLE', reason: 'SHUTTING_DOWN' });
    generation.tokens('two');
    generation.finish();
    expect(events(await response.text()).at(-1)).toBe('[DONE]');
    health.stop();
    client.close();
    await stopped;
    expect((await gateway.reports(1))[0]?.outcome).toBe(StreamOutcome.OK);
  });
});
