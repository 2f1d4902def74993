import { afterEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { errorOf, events, Harness, type Setup } from './gateway-harness.ts';

let gateway: Harness;
afterEach(() => gateway.stop());

async function startWithTwo(runtime: Setup['runtime'] = {}): Promise<void> {
  gateway = await new Harness({ moreWorkers: [new FakeWorker()], runtime }).start();
  await until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === '2');
}

/** The worker that has the request, and the other one. */
async function whoHas(): Promise<[FakeWorker, FakeWorker]> {
  await until(() => gateway.workers.some((worker) => worker.generations.length === 1));
  const [one, two] = gateway.workers as [FakeWorker, FakeWorker];
  return one.generations.length === 1 ? [one, two] : [two, one];
}

const textOf = (stream: string): string =>
  events(stream)
    .flatMap((event) => (typeof event === 'string' ? [] : (event as { choices?: { delta?: { content?: string } }[] }).choices ?? []))
    .map(({ delta }) => delta?.content ?? '')
    .join('');

describe('a worker that is gone in the middle of an answer', () => {
  it.each([true, false])('has the answer go on at another one, from the tokens that were sent (stream %s)', async (stream) => {
    await startWithTwo();
    const answer = gateway.chat({ stream });
    const [first, second] = await whoHas();
    first.generations[0]!.accept().tokens('one ', 'two ');
    if (stream) await answer;
    else await until(async () => (await gateway.metric('mlx_serving_gateway_active_streams')) === '1');
    await new Promise((resolve) => setImmediate(resolve));
    await first.kill();
    const rest = await second.generation(0);
    expect([rest.resumed, rest.request.model]).toEqual([[1, 2], 'fake']);
    rest.accept().tokens('three');
    rest.finish();
    const body = await (await answer).text();
    expect(stream ? textOf(body) : (JSON.parse(body) as { choices: { message: { content: string } }[] }).choices[0]?.message.content).toBe('one two three');
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({ outcome: StreamOutcome.OK, workerId: second.address, usage: { completionTokens: 3 } });
    expect(await gateway.metric('mlx_serving_gateway_continuations_total')).toBe('1');
  });

  it('ends the answer with an error event when nobody else serves', async () => {
    gateway = await new Harness().start();
    const answer = gateway.chat({ stream: true });
    (await gateway.worker.generation(0)).accept().tokens('one');
    const response = await answer;
    await gateway.worker.kill();
    expect(events(await response.text()).at(-1)).toMatchObject({ error: { code: 'worker_lost' } });
  });

  it('is not replaced without end: at the second loss of a continuation the stream ends with an error event', async () => {
    gateway = await new Harness({ moreWorkers: [new FakeWorker(), new FakeWorker(), new FakeWorker()] }).start();
    await until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === '4');
    const answer = gateway.chat({ stream: true });
    for (const _ of [1, 2, 3]) {
      await until(() => gateway.workers.some((worker) => worker.generations.some((one) => !one.cancelled)));
      const worker = gateway.workers.find(({ generations }) => generations.some((one) => !one.cancelled))!;
      worker.generations[0]!.accept().tokens('x');
      await answer;
      await until(async () => (await gateway.metric('mlx_serving_gateway_active_streams')) === '1');
      worker.generations[0]!.cancelled = true;
      await worker.kill();
    }
    expect(events(await (await answer).text()).at(-1)).toMatchObject({ error: { code: 'worker_lost' } });
  });
});

describe('a worker that does not answer any more', () => {
  it('loses its requests to another one, gets no new ones, and returns when it answers', async () => {
    await startWithTwo({ probe_interval_ms: 20, missed_probes: 1 });
    const answer = gateway.chat({ stream: true });
    const [first, second] = await whoHas();
    first.generations[0]!.accept().tokens('one ');
    first.frozen = true;
    const rest = await second.generation(0);
    rest.accept().tokens('two');
    rest.finish();
    expect(textOf(await (await answer).text())).toBe('one two');
    expect(first.generations[0]!.cancelled).toBe(true);
    expect(await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')).toBe('1');
    first.frozen = false;
    await until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === '2');
  });
});

describe('retries', () => {
  it('end when their budget is spent, so that they cannot multiply an overload', async () => {
    await startWithTwo({ retry_burst: 1, open_after_failures: 1_000 });
    for (const worker of gateway.workers) worker.models = ['other'];
    const lose = async (): Promise<number> => {
      const before = gateway.workers.map(({ generations }) => generations.length);
      const answer = gateway.chat({ model: 'other' });
      for (let tries = 1; ; tries++) {
        let done: Response | undefined;
        void answer.then((response) => (done = response));
        await until(() => done !== undefined || gateway.workers.flatMap(({ generations }) => generations).length === before[0]! + before[1]! + tries);
        if (done) return tries - 1;
        for (const generation of gateway.workers.flatMap(({ generations }) => generations)) generation.lose();
      }
    };
    expect([await lose(), await lose()]).toEqual([2, 1]);
    expect(await gateway.metric('mlx_serving_gateway_refused_retries_total')).toBe('1');
  });
});

describe('the budget of retries', () => {
  /** A request whose worker is lost before its first token is answered by the other one. */
  async function isRetried(): Promise<void> {
    const before = gateway.workers.map(({ generations }) => generations.length);
    const has = (worker: FakeWorker): boolean => worker.generations.length > before[gateway.workers.indexOf(worker)]!;
    const answer = gateway.chat();
    await until(() => gateway.workers.some(has));
    const first = gateway.workers.find(has)!;
    first.generations.at(-1)!.lose();
    const second = gateway.workers.find((worker) => worker !== first)!;
    await until(() => has(second));
    second.generations.at(-1)!.accept().finish();
    expect((await answer).status).toBe(200);
    expect(await gateway.metric('mlx_serving_gateway_refused_retries_total')).toBe('0');
  }

  it('is left as it is by a failure that nobody else could mend', async () => {
    await startWithTwo({ retry_burst: 1, open_after_failures: 1_000 });
    const [first, second] = gateway.workers as [FakeWorker, FakeWorker];
    await second.kill();
    await until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === '1');
    const lost = gateway.chat();
    (await first.generation(0)).lose();
    expect((await lost).status).toBe(503);
    await second.start();
    await until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === '2');
    await isRetried();
  });

  it('is the baseline’s own: a canary that fails spends none of it', async () => {
    const canaryWorkers = [new FakeWorker(), new FakeWorker()];
    gateway = await new Harness({ moreWorkers: [new FakeWorker()], canaryWorkers, runtime: { retry_burst: 1, open_after_failures: 1_000 } }).start();
    for (const variant of ['baseline', 'canary']) await until(async () => (await gateway.metric(`mlx_serving_gateway_serving_workers{variant="${variant}"}`)) === '2');
    const route = async (revision: bigint, rolloutPercentage: number): Promise<void> => {
      gateway.canary.route({ revision, enabled: true, rolloutPercentage });
      await gateway.canary.until(() => gateway.canary.all('acknowledgement').some((one) => one.revision === revision));
    };
    await route(2n, 100);
    const lost = gateway.chat();
    await Promise.all(canaryWorkers.map(async (worker) => (await worker.generation(0)).lose()));
    expect((await lost).status).toBe(503);
    await route(3n, 0);
    await isRetried();
  });
});

describe('a circuit', () => {
  it('opens after failures in a row, keeps work away, and closes when a trial succeeds', async () => {
    await startWithTwo({ open_after_failures: 2, open_ms: 100, retry_burst: 0, prefix_affinity: false });
    const failing = gateway.workers[0]!;
    gateway.workers[1]!.script = ['fine'];
    failing.faulty = true;
    await until(async () => {
      await gateway.chat();
      return (await gateway.metric('mlx_serving_gateway_worker_events_total{event="circuit open"}')) === '1';
    });
    failing.faulty = false;
    failing.script = ['back'];
    await until(async () => ((await (await gateway.chat()).json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content === 'back');
  });

  it('is held open by a lease of qos, and all open circuits together keep nobody from being served', async () => {
    await startWithTwo({ prefix_affinity: false });
    for (const worker of gateway.workers) worker.script = ['fine'];
    gateway.qos.open(gateway.workers[0]!.address);
    await until(async () => (await gateway.metric(`mlx_serving_gateway_forced_circuits{worker="${gateway.workers[0]!.address}"}`)) === '1');
    for (let request = 0; request < 8; request++) expect((await gateway.chat()).status).toBe(200);
    const { workers } = (await (await gateway.get('/health/ready')).json()) as { workers: { baseline: { states: Record<string, string> } } };
    expect(workers.baseline.states).toEqual({ [gateway.workers[0]!.address]: 'forced-open', [gateway.workers[1]!.address]: 'closed' });
    expect(gateway.workers.map(({ generations }) => generations.length)).toEqual([0, 8]);
    gateway.qos.open(gateway.workers[1]!.address);
    await until(async () => (await gateway.metric(`mlx_serving_gateway_forced_circuits{worker="${gateway.workers[1]!.address}"}`)) === '1');
    expect((await gateway.chat()).status).toBe(200);
    expect(await gateway.metric('mlx_serving_gateway_balancing_panic{variant="baseline"}')).toBe('1');
  });
});

describe('a request', () => {
  it('gives the worker what is left of its time as the deadline of the call', async () => {
    gateway = await new Harness({ runtime: { timeout_ms: 500 } }).start();
    const answer = await gateway.chat();
    expect([answer.status, (await errorOf(answer)).code]).toEqual([504, 'request_timeout']);
    const left = (await gateway.worker.generation(0)).timeLeftMs;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(600);
  });

  it('goes where the same beginning of a prompt went before', async () => {
    await startWithTwo();
    for (const worker of gateway.workers) worker.script = ['fine'];
    const beginning = 'You answer in the words of the manual, shortly, and never guess. '.repeat(5);
    for (let turn = 0; turn < 6; turn++) await gateway.chat({ messages: [{ role: 'user', content: `${beginning}${turn}` }] });
    expect(gateway.workers.map(({ generations }) => generations.length).sort()).toEqual([0, 6]);
    expect(await gateway.metric('mlx_serving_gateway_balanced_total{by="prefix"}')).toBe('5');
  });
});
