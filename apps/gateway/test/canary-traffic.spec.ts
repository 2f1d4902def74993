import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome, type StreamReport } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness } from './gateway-harness.ts';

let gateway: Harness;
const canaryWorker = (): FakeWorker => gateway.setup.canaryWorkers?.[0] as FakeWorker;
let revision = 1n;

beforeEach(async () => {
  revision = 1n;
  gateway = await new Harness({ worker: new FakeWorker({ script: ['ok'] }), canaryWorkers: [new FakeWorker({ script: ['ok'] })] }).start();
});
afterEach(() => gateway.stop());

async function route(table: Parameters<Harness['canary']['route']>[0]): Promise<void> {
  gateway.canary.route({ ...table, revision: ++revision, enabled: true });
  await gateway.canary.until(() => gateway.canary.all('acknowledgement').some((one) => one.revision === revision));
}
const variantOf = async (more: object = {}, headers: Record<string, string> = {}): Promise<string | null> => (await gateway.chat(more, { headers })).headers.get('x-mlx-serving-variant');
const canaryReports = (): StreamReport[] => gateway.canary.all('reports').flatMap((batch) => batch.reports);
const reported = (reason: string) => until(() => canaryReports().find(({ decision }) => decision?.variantReason === reason) !== undefined);

describe('traffic of a canary', () => {
  it('is routed by a header when hashKey says so, each value always the same way', async () => {
    await route({ rolloutPercentage: 50, hashKey: 'header:x-team' });
    const teams = Array.from({ length: 8 }, (_, index) => `team-${index}`);
    const ask = () => Promise.all(teams.map((team) => variantOf({ user: String(Math.random()) }, { 'x-team': team })));
    const first = await ask();
    expect(new Set(first).size).toBe(2);
    expect(await ask()).toEqual(first);
  });

  it('asks the canary for its own model', async () => {
    await route({ rolloutPercentage: 100, canaryModel: 'new-model' });
    await gateway.chat();
    expect(canaryWorker().generations[0]?.request.model).toBe('new-model');
    await route({ rolloutPercentage: 0, canaryModel: 'new-model' });
    await gateway.chat();
    expect(gateway.worker.generations.at(-1)?.request.model).toBe('fake');
  });

  it('is repeated at the canary when the user has the answer, and reported apart, to canary alone', async () => {
    await route({ rolloutPercentage: 0, shadowPercentage: 100, shadowConcurrency: 1 });
    canaryWorker().script = undefined;
    expect((await gateway.chat({ temperature: 0 })).status).toBe(200);
    const repeated = await canaryWorker().generation(0);
    expect(repeated.timeLeftMs).toBeLessThan(3_600_000);
    // At the cap a request is left out, and the user's answer waits for nothing.
    expect((await gateway.chat()).status).toBe(200);
    repeated.accept().tokens('other', 'text');
    repeated.finish();
    await reported('SHADOW');
    expect(canaryReports().find(({ decision }) => decision?.variantReason === 'SHADOW')).toMatchObject({ outcome: StreamOutcome.OK, decision: { variant: 'canary' }, sameOutput: false });
    expect(canaryWorker().generations).toHaveLength(1);
    expect((await gateway.reports(2)).map(({ decision }) => decision?.variantReason)).toEqual(['OUTSIDE_CANARY_SHARE', 'OUTSIDE_CANARY_SHARE']);
    expect(await gateway.metric('mlx_serving_gateway_shadow_requests_total{outcome="left_out"}')).toBe('1');
    expect(await gateway.metric('mlx_serving_gateway_shadow_requests_total{outcome="different"}')).toBe('1');
  });

  it('goes to the baseline when the canary service is not heard for the lease, and comes back with it', async () => {
    await route({ rolloutPercentage: 100, leaseMs: 300 });
    expect(await variantOf()).toBe('canary');
    await until(async () => (await variantOf()) === 'baseline');
    expect(await (await gateway.get('/health/canary')).json()).toMatchObject({ canary: { percentage: 0, status: 'frozen' } });
    await reported('LEASE_ENDED');
    gateway.canary.send({ case: 'lease', value: { revision } });
    await until(async () => (await variantOf()) === 'canary');
  });

  it('moves to the baseline before its first token when a rollback asks for it, and only then', async () => {
    await route({ rolloutPercentage: 100 });
    canaryWorker().script = undefined;
    const [started, waiting] = [gateway.chat({ stream: true }, { headers: { 'x-request-id': 'started' } }), gateway.chat({ stream: true }, { headers: { 'x-request-id': 'waiting' } })];
    const all = await Promise.all([canaryWorker().generation(0), canaryWorker().generation(1)]);
    const one = all.find(({ request }) => request.requestId === 'started');
    one?.accept().tokens('from the canary');
    await started;
    await route({ rolloutPercentage: 0, moveUnstarted: true });
    const moved = await waiting;
    expect([moved.status, moved.headers.get('x-mlx-serving-variant'), await moved.text()]).toEqual([200, 'baseline', expect.stringContaining('ok')]);
    one?.finish();
    const finished = await started;
    expect([finished.headers.get('x-mlx-serving-variant'), await finished.text()]).toEqual(['canary', expect.stringContaining('from the canary')]);
    await reported('MOVED_TO_BASELINE');
    expect(await gateway.metric('mlx_serving_gateway_moved_requests_total')).toBe('1');
  });

  it('asks the baseline for the model that the client named, when the canary has another one', async () => {
    canaryWorker().models = ['new-model'];
    await route({ rolloutPercentage: 100, canaryModel: 'new-model' });
    canaryWorker().script = undefined;
    const waiting = gateway.chat();
    // It has told its own name already.
    (await canaryWorker().generation(0)).accept();
    await route({ rolloutPercentage: 0, canaryModel: 'new-model', moveUnstarted: true });
    const moved = await waiting;
    expect([moved.status, moved.headers.get('x-mlx-serving-variant'), await moved.json()]).toEqual([200, 'baseline', expect.objectContaining({ model: 'fake' })]);
    expect(gateway.worker.generations.map(({ request }) => request.model)).toEqual(['fake']);
  });

  it('never reaches the canary when it still waits for a place as a rollback takes it back', async () => {
    await gateway.stop();
    gateway = await new Harness({ worker: new FakeWorker({ script: ['ok'] }), canaryWorkers: [new FakeWorker()], runtime: { max_concurrent_streams: 1 } }).start();
    await route({ rolloutPercentage: 100 });
    const running = gateway.chat({ stream: true });
    const generation = await canaryWorker().generation(0);
    const queued = gateway.chat();
    await until(async () => (await gateway.metric('mlx_serving_gateway_queue_depth')) === '1');
    generation.accept().tokens('begun');
    await running;
    await route({ rolloutPercentage: 0, moveUnstarted: true });
    generation.finish();
    expect((await queued).headers.get('x-mlx-serving-variant')).toBe('baseline');
    expect(canaryWorker().generations).toHaveLength(1);
  });

  it('runs to its end at the canary after a rollback that does not ask for more', async () => {
    await route({ rolloutPercentage: 100 });
    canaryWorker().script = undefined;
    const answer = gateway.chat();
    const generation = await canaryWorker().generation(0);
    await route({ rolloutPercentage: 0 });
    generation.accept().tokens('late');
    generation.finish();
    expect((await answer).headers.get('x-mlx-serving-variant')).toBe('canary');
  });
});
