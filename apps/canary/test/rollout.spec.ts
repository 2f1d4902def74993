import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { closeHttpServer, listen } from '@mlx-serving/service-kit';
import type { CanaryApp } from '../src/app.ts';
import { CanaryHarness } from './canary-harness.ts';
import type { FakeGateway } from './fake-gateway.ts';
import { until } from './until.ts';

const stages = [10, 50, 100].map((percentage) => ({ percentage, holdMs: 0n, gate: false }));

describe('a rollout', () => {
  let harness: CanaryHarness;
  let app: CanaryApp;
  let gateway: FakeGateway;

  beforeEach(async () => {
    harness = await CanaryHarness.create(10);
    app = await harness.start();
    gateway = harness.link(app);
    await until('the table', () => gateway.tables.at(-1)?.rolloutPercentage === 10);
  });
  afterEach(() => harness.stop());

  const rollout = async () => {
    const { rollout: found } = await gateway.client.getState({});
    if (!found) throw new Error('there is no rollout');
    return found;
  };
  const phase = (wanted: string) => until(`the phase ${wanted}`, async () => (await rollout()).phase === wanted && rollout(), 15_000);

  it.each([
    ['fails', 'high_error_rate', { failing: 0.5 }],
    ['is slow', 'high_latency', { slowdown: 3 }],
    ['fails always', 'failed_at_once', { failing: 1 }],
  ])('goes to 0 %% at once when the canary %s', async (_, reason, traffic) => {
    await harness.traffic(gateway, { requests: 200 });
    // Over several looks: one alone decides nothing about latencies.
    const table = await until(
      '0 %',
      async () => {
        await harness.traffic(gateway, { requests: 50, ...traffic });
        return gateway.tables.find(({ rolloutPercentage }) => rolloutPercentage === 0);
      },
      15_000,
    );
    expect(table).toMatchObject({ revision: 2n, enabled: true });
    const { history, status, reason: found } = await phase('rolled_back');
    expect(status).toBe('rolled_back');
    expect([reason, 'high_error_rate']).toContain(found);
    expect(history.filter(({ event }) => event === 'rolled_back')).toMatchObject([{ actor: 'controller', percentage: 0 }]);
    const metrics = await harness.metrics(app);
    expect(metrics).toContain(`mlx_serving_canary_rollbacks_total{reason="${found}"} 1`);
    expect(metrics).toContain(`mlx_serving_canary_rollback_triggers_total{trigger="${found}"} 1`);
    await until('the status', () => gateway.comparisons.at(-1)?.status === 'rolled_back');
  });

  it('is left alone while the canary is as good, and found healthy on evidence', async () => {
    await harness.traffic(gateway, { requests: 8_000 });
    await until('healthy', async () => (await rollout()).status === 'healthy', 20_000);
    expect(await rollout()).toMatchObject({ phase: 'running', percentage: 10, judgement: { notWorse: true, promotionProgress: 1 } });
  });

  it('goes through its stages on evidence, and ends at 100 %', async () => {
    const answer = await gateway.client.control({ action: { case: 'deploy', value: { stages } }, actor: 'someone' });
    expect(answer).toMatchObject({ changed: true, rollout: { source: 'deploy', percentage: 10, stages: { length: 3 } } });
    await harness.traffic(gateway, { requests: 8_000 });
    const second = await until('50 %', () => gateway.tables.find(({ rolloutPercentage }) => rolloutPercentage === 50), 20_000);
    expect((await rollout()).stage).toBe(1);
    expect(second.revision).toBeGreaterThan(1n);
    await harness.traffic(gateway, { requests: 4_000 });
    expect((await phase('promoted')).percentage).toBe(100);
    expect((await rollout()).history.map(({ event }) => event)).toEqual(['started', 'started', 'stage', 'promoted']);
  });

  it('stays at a gate until a person promotes', async () => {
    await gateway.client.control({ action: { case: 'deploy', value: { stages: [{ percentage: 20, holdMs: 0n, gate: true }, { percentage: 40, holdMs: 0n, gate: false }] } } });
    await until('20 %', () => gateway.tables.at(-1)?.rolloutPercentage === 20);
    await harness.traffic(gateway, { requests: 6_000 });
    await until('the wait', async () => (await rollout()).status === 'waiting_for_approval', 20_000);
    const promote = () => gateway.client.control({ action: { case: 'promote', value: {} }, idempotencyKey: 'once', actor: 'someone' });
    expect(await promote()).toMatchObject({ changed: true, rollout: { percentage: 40, stage: 1 } });
    expect(await promote()).toMatchObject({ changed: false, rollout: { percentage: 40 } });
  });

  it('is paused, resumed, aborted and retried, each asked for twice, and knows who did it', async () => {
    const control = async (name: 'pause' | 'resume' | 'abort' | 'retry' | 'rollback', force = false) => {
      const first = await gateway.client.control({ action: { case: name, value: {} }, actor: 'someone', force });
      const second = await gateway.client.control({ action: { case: name, value: {} }, actor: 'someone', force });
      expect([first.changed, second.changed]).toEqual([true, false]);
      return first.rollout;
    };
    expect(await control('pause')).toMatchObject({ phase: 'paused', percentage: 10 });
    expect(await control('resume')).toMatchObject({ phase: 'running', percentage: 10 });
    expect(await control('rollback')).toMatchObject({ phase: 'rolled_back', percentage: 0, reason: 'manual' });
    await expect(gateway.client.control({ action: { case: 'retry', value: {} } })).rejects.toThrow(/cooldown/);
    await expect(gateway.client.control({ action: { case: 'pause', value: {} } })).rejects.toThrow(/rolled_back cannot pause/);
    expect(await control('retry', true)).toMatchObject({ phase: 'running', percentage: 10 });
    expect(await control('abort')).toMatchObject({ phase: 'aborted', percentage: 0 });
    expect(await rollout()).toMatchObject({ history: [{ event: 'started', actor: 'file' }, { event: 'paused', actor: 'someone' }, { event: 'resumed' }, { event: 'rolled_back' }, { event: 'started' }, { event: 'aborted' }] });
    expect(gateway.tables.at(-1)?.rolloutPercentage).toBe(0);
  });

  it('is only described by a dry run', async () => {
    const { notes, changed } = await gateway.client.control({ action: { case: 'deploy', value: { percentage: 25 } }, dryRun: true });
    expect({ notes, changed }).toEqual({ notes: ['dry run: the phase would be running, the canary\'s share 25 % (now running, 10 %)'], changed: true });
    expect((await rollout()).percentage).toBe(10);
    await expect(gateway.client.control({ action: { case: 'deploy', value: { percentage: 101 } }, dryRun: true })).rejects.toThrow(/0 to 100/);
  });

  it('goes back by steps when a person asks for it', async () => {
    await gateway.client.control({ action: { case: 'deploy', value: { percentage: 40 } } });
    expect(await gateway.client.control({ action: { case: 'rollback', value: { gradual: true } } })).toMatchObject({ rollout: { phase: 'rolling_back', percentage: 10 } });
    expect(await gateway.client.control({ action: { case: 'rollback', value: {} } })).toMatchObject({ rollout: { phase: 'rolled_back', percentage: 0 } });
  });

  it('is taken up by the next process as the last one left it: stage, evidence, history and revision', async () => {
    await gateway.client.control({ action: { case: 'deploy', value: { stages: [{ percentage: 30, holdMs: 60_000_000n, gate: true }, { percentage: 60, holdMs: 0n, gate: false }] } } });
    await until('30 %', () => gateway.tables.at(-1)?.rolloutPercentage === 30);
    await harness.traffic(gateway, { requests: 1_000, failing: 0.01 });
    await until('the reports', async () => (await gateway.client.getState({})).reportsTotal === 1_000n);
    await until('the evidence on Redis', async () => (await rollout()).judgement !== undefined && (await kept()).evidence?.units.canary === Number((await rollout()).judgement?.canaryUnits));
    const before = await rollout();
    // The first process is not stopped, as after a kill: nothing is given back.
    const next = await harness.start();
    gateway = harness.link(next, 'gateway-2');
    const table = await until('the table', () => gateway.tables[0]);
    expect(table).toMatchObject({ rolloutPercentage: 30, revision: 2n });
    await harness.traffic(gateway, { requests: 50 });
    const after = await until('a verdict', async () => ((await rollout()).judgement ? rollout() : undefined));
    expect(after.id).toBe(before.id);
    expect(after.history).toEqual(before.history);
    expect(after.judgement?.canaryUnits).toBeGreaterThan(before.judgement?.canaryUnits ?? 0n);
  });

  it('stays rolled back when its service starts while Redis does not answer, and is found again when Redis does', async () => {
    await gateway.client.control({ action: { case: 'rollback', value: {} }, actor: 'someone' });
    const before = await rollout();
    await app.stop();
    await harness.redis.stop();
    app = await harness.start();
    gateway = harness.link(app, 'gateway-2');
    expect(await until('the table', () => gateway.tables[0])).toMatchObject({ rolloutPercentage: 0 });
    expect(await rollout()).toMatchObject({ id: '', status: 'frozen', percentage: 0 });
    await harness.redis.restart();
    const after = await until('the kept rollout', async () => (await rollout()).id !== '' && rollout(), 15_000);
    expect(after).toMatchObject({ id: before.id, phase: 'rolled_back', percentage: 0, history: before.history, cooldownUntilMs: before.cooldownUntilMs });
    expect(gateway.tables.every(({ rolloutPercentage }) => rolloutPercentage === 0)).toBe(true);
  });

  it('is taken up at its share when Redis answers late', async () => {
    await app.stop();
    await harness.redis.stop();
    app = await harness.start();
    gateway = harness.link(app, 'gateway-2');
    expect(await until('the table', () => gateway.tables[0])).toMatchObject({ rolloutPercentage: 0 });
    await harness.redis.restart();
    await until('10 %', () => gateway.tables.at(-1)?.rolloutPercentage === 10, 15_000);
    expect((await rollout()).history).toHaveLength(1);
  });

  async function kept(): Promise<{ evidence: { units: { canary: number } } | null }> {
    const { createRedis, silentLogger } = await import('@mlx-serving/service-kit');
    const redis = createRedis(harness.redis.url, silentLogger, 'test');
    const text = await redis.get('canary:rollout');
    redis.disconnect();
    return JSON.parse(text ?? '{"evidence":null}') as { evidence: { units: { canary: number } } | null };
  }

  it('lets one replica act: another is not ready and takes no links', async () => {
    const other = await harness.start({ MLX_SERVING_REPLICA_ID: 'canary-2' });
    const ready = await fetch(`http://127.0.0.1:${other.ports.operations}/health/ready`);
    expect([ready.status, JSON.stringify(await ready.json())]).toEqual([503, expect.stringContaining('another replica acts')]);
    const refused = harness.link(other, 'gateway-2');
    expect((await until('the refusal', () => refused.problem)).metadata?.get('reason')).toEqual(['NOT_ACTING']);
    await app.stop();
    await until('the other acts', async () => (await fetch(`http://127.0.0.1:${other.ports.operations}/health/ready`)).status === 200, 10_000);
  });

  it('asks a signed webhook before a stage, and stays while it refuses', async () => {
    const calls: { event: string; valid: boolean; next?: { percentage: number } }[] = [];
    let answer = 409;
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (text: Buffer) => (body += text.toString()));
      request.on('end', () => {
        const valid = request.headers['x-mlx-serving-signature'] === `sha256=${createHmac('sha256', 'secret').update(body).digest('hex')}`;
        calls.push({ ...(JSON.parse(body) as { event: string; next?: { percentage: number } }), valid });
        response.writeHead(answer).end();
      });
    });
    const port = await listen(server, '127.0.0.1', 0);
    const secretFile = join(harness.directory, 'secret');
    await writeFile(secretFile, 'secret\n');
    const hook = (when: string): string => `  - when: ${when}\n    url: http://127.0.0.1:${port}/\n    secretFile: ${secretFile}\n`;
    await harness.edit((text) => `${text}\nwebhooks:\n${hook('before')}${hook('after')}`);
    await app.reload?.();
    await gateway.client.control({ action: { case: 'deploy', value: { stages } } });
    await harness.traffic(gateway, { requests: 8_000 });
    await until('the question', () => calls.some(({ event }) => event === 'before_stage'), 20_000);
    expect((await rollout()).percentage).toBe(10);
    // A person is told why, and may go on all the same.
    const asked = calls.length;
    const promote = (force: boolean) => gateway.client.control({ action: { case: 'deploy', value: { percentage: 20 } }, force });
    await expect(promote(false)).rejects.toThrow(/A webhook refuses the step.*Use force/);
    expect(calls.slice(asked).find(({ next }) => next?.percentage === 20)).toMatchObject({ event: 'before_stage' });
    expect(await promote(true)).toMatchObject({ changed: true, rollout: { percentage: 20 } });
    await gateway.client.control({ action: { case: 'deploy', value: { stages } }, force: true });
    await until('10 % again', () => gateway.tables.at(-1)?.rolloutPercentage === 10);
    await harness.traffic(gateway, { requests: 8_000 });
    answer = 200;
    await until('50 %', async () => (await rollout()).percentage === 50, 20_000);
    expect(calls.findLast(({ event }) => event === 'before_stage')?.next).toMatchObject({ percentage: 50 });
    await until('the news', () => calls.some(({ event }) => event === 'stage'));
    await gateway.client.control({ action: { case: 'rollback', value: {} } });
    await until('the news of the end', () => calls.some(({ event }) => event === 'rollback'));
    expect(calls.every(({ valid }) => valid)).toBe(true);
    await closeHttpServer(server, 100);
  });

  it('is planned from the present traffic', async () => {
    expect(await gateway.client.plan({ percentage: 10 })).toMatchObject({ requestsPerSecond: 0, stages: [{ percentage: 10 }], notes: [expect.stringContaining('no traffic'), expect.stringContaining('usual spread')] });
    await harness.traffic(gateway, { requests: 600 });
    const plan = await until('the traffic', async () => {
      const found = await gateway.client.plan({ stages });
      return found.requestsPerSecond === 10 && found;
    });
    expect(plan.notes).toEqual([]);
    const [tenth, half, all] = plan.stages;
    expect(Number(tenth?.requestsToDetectSlow)).toBeGreaterThan(10);
    expect(Number(tenth?.requestsToDetectSlow)).toBeLessThan(400);
    expect(half?.secondsToDetectSlow).toBeLessThan(tenth?.secondsToDetectSlow ?? 0);
    expect(tenth?.secondsToPromote).toBeGreaterThan(0);
    expect(all?.requestsToPromote).toBe(0n);
  });
});
