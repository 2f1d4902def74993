import { afterEach, describe, expect, it } from '@jest/globals';
import { Priority, StreamOutcome } from '@mlx-serving/contracts';
import { until } from '@mlx-serving/testing';
import { errorOf, Harness, on } from './gateway-harness.ts';

let gateway: Harness;
afterEach(() => gateway.stop());

const depth = (count: number) => until(async () => (await gateway.metric('mlx_serving_gateway_queue_depth')) === String(count));

describe('a request that waits', () => {
  it('is told how many were before it, in the headers of its answer', async () => {
    gateway = await new Harness({ runtime: { max_concurrent_streams: 1 } }).start();
    const answers = [gateway.chat()];
    const running = await gateway.worker.generation(0);
    for (const waiting of [1, 2]) {
      answers.push(gateway.chat({ stream: waiting === 2 }));
      await depth(waiting);
    }
    gateway.worker.script = ['fine'];
    running.accept().finish();
    const positions = (await Promise.all(answers)).map(({ headers }) => headers.get('x-mlx-serving-queue-position'));
    expect(positions).toEqual([null, '0', '1']);
  });

  it('is announced to the worker that it will probably go to, until it goes', async () => {
    gateway = new Harness({ runtime: { max_concurrent_streams: 1 } });
    gateway.flags.hold(13n, { ttft_pipeline: on, 'ttft_pipeline.warmup_queue': on });
    await gateway.start();
    const first = gateway.chat();
    const running = await gateway.worker.generation(0);
    const second = gateway.chat({}, { headers: { 'x-request-id': 'waits' } });
    await until(() => gateway.worker.prepared.includes('waits'));
    gateway.worker.script = ['fine'];
    running.accept().finish();
    expect((await Promise.all([first, second])).map(({ status }) => status)).toEqual([200, 200]);
    expect(gateway.worker.generations[1]?.request.requestId).toBe('waits');
  });

  it('is not announced while as many go before it as there are places: the worker has its hands full', async () => {
    gateway = new Harness({ runtime: { max_concurrent_streams: 2 } });
    gateway.flags.hold(13n, { ttft_pipeline: on, 'ttft_pipeline.warmup_queue': on });
    await gateway.start();
    const answers = [gateway.chat(), gateway.chat()];
    const running = [await gateway.worker.generation(0), await gateway.worker.generation(1)];
    for (const place of [1, 2, 3, 4]) {
      answers.push(gateway.chat({}, { headers: { 'x-request-id': `waits-${place}` } }));
      await depth(place);
    }
    await until(() => gateway.worker.prepared.includes('waits-2'));
    gateway.worker.script = ['fine'];
    for (const each of running) each.accept().finish();
    await Promise.all(answers);
    expect(gateway.worker.prepared.filter((id, at, all) => all.indexOf(id) === at)).toEqual(['waits-1', 'waits-2']);
  });
});

describe('a class that a controller sheds', () => {
  it('is refused with 429 and a time to retry after, which is no error of the servers', async () => {
    gateway = await new Harness().start();
    gateway.worker.script = ['fine'];
    gateway.qos.shed(Priority.UNSPECIFIED, 1);
    await until(async () => (await gateway.metric('mlx_serving_gateway_shed_share{priority="normal"}')) === '1');
    const refused = await gateway.chat();
    expect([refused.status, Number(refused.headers.get('retry-after')), (await errorOf(refused)).code]).toEqual([429, 1, 'load_shed']);
    expect((await gateway.reports(1))[0]?.outcome).toBe(StreamOutcome.REJECTED);
    gateway.qos.shed(Priority.UNSPECIFIED, 0);
    await until(async () => (await gateway.chat()).status === 200);
  });
});

describe('a request whose deadline cannot be met', () => {
  it('is refused at once with 503 and a time to retry after', async () => {
    gateway = await new Harness({ runtime: { max_concurrent_streams: 1 } }).start();
    gateway.worker.script = ['fine'];
    for (let request = 0; request < 6; request++) await gateway.chat();
    gateway.worker.script = undefined;
    const running = gateway.chat();
    const generation = await gateway.worker.generation(6);
    const waiting = [1, 2].map(() => gateway.chat());
    await depth(2);
    const refused = await gateway.chat({}, { headers: { 'x-request-timeout-ms': '200' } });
    expect([refused.status, (await errorOf(refused)).code]).toEqual([503, 'deadline_unreachable']);
    gateway.worker.script = ['fine'];
    generation.accept().finish();
    expect((await Promise.all([running, ...waiting])).map(({ status }) => status)).toEqual([200, 200, 200]);
  });
});
