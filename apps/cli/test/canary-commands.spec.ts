import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { closeHttpServer, listen, readEnvironment } from '@mlx-serving/service-kit';
import { environment } from '../src/config.ts';
import { runCommand } from '../src/run-command.ts';

const rollout = { phase: 'running', status: 'inconclusive', reason: '', percentage: 10, stage: 0, stages: [{ percentage: 10, holdMs: 0, gate: false }], judgement: { promotionProgress: 0.4, findings: [{ trigger: 'high_latency', severity: 'critical', progress: 0.25, ratio: 1.2 }] }, counterfactual: { rollbacks: 3 } };
const health = { canary: { enabled: true, percentage: 10, requests: { baseline: 450, canary: 7 }, metrics: { baseline: { p95Latency: 280, errorRate: 0.002 }, canary: { p95Latency: 295, errorRate: 0 } }, status: 'healthy' } };

describe('mlx-serving canary', () => {
  let server: Server;
  let folder: string;
  let url: string;
  let asked: { method: string; path: string; body: unknown; token: string; key: string | undefined }[];
  let refusal: string | undefined;
  let rolloutNow: object;

  beforeEach(async () => {
    [asked, refusal] = [[], undefined];
    rolloutNow = rollout;
    folder = await mkdtemp(join(tmpdir(), 'cli-'));
    await writeFile(join(folder, 'admin-token'), 'the-token\n');
    server = createServer((request, response) => {
      let text = '';
      request.on('data', (part: Buffer) => (text += part.toString()));
      request.on('end', () => {
        const path = request.url ?? '';
        asked.push({ method: request.method ?? '', path, body: text ? JSON.parse(text) : undefined, token: request.headers.authorization ?? '', key: request.headers['idempotency-key'] as string | undefined });
        const changed = { success: true, changed: true, notes: [], rollout };
        const plan = { requestsPerSecond: 10, notes: ['a note'], stages: [{ percentage: 10, requestsToDetectSlow: 60, requestsToPromote: 500, requestsAtRisk: 7, secondsToDetectSlow: 60, secondsToPromote: 500 }, { percentage: 100, requestsToDetectSlow: 0, requestsToPromote: 0, requestsAtRisk: 0 }] };
        const answer = path.startsWith('/health') ? health : path.endsWith('/rollout') ? rolloutNow : path.endsWith('/plan') ? plan : changed;
        response.writeHead(refusal ? 409 : 200).end(JSON.stringify(refusal ? { error: { message: refusal } } : answer));
      });
    });
    url = `http://127.0.0.1:${await listen(server, '127.0.0.1', 0)}`;
  });
  afterEach(async () => {
    await closeHttpServer(server, 100);
    await rm(folder, { recursive: true });
  });

  async function cli(...args: string[]) {
    const [out, problems]: [string[], string[]] = [[], []];
    const config = readEnvironment(environment, { MLX_SERVING_ADMIN_URL: url, MLX_SERVING_GATEWAY_URL: url, MLX_SERVING_STATE_DIR: folder });
    const code = await runCommand(args, config, { write: (text) => out.push(text) }, { write: (text) => problems.push(text) });
    return { code, out: out.join(''), problems: problems.join('') };
  }

  it('monitors with the report of the guide', async () => {
    const output = join(folder, 'report');
    const { code, out } = await cli('canary', 'monitor', '--duration', '0', '--output', output);
    expect(code).toBe(0);
    expect(out).toBe(`=== Canary Monitoring ===
Rollout: 10%
Baseline: 450 requests (98.5%)
Canary: 7 requests (1.5%)

Baseline P95 latency: 280ms
Canary P95 latency: 295ms
Latency delta: +5.4%

Baseline error rate: 0.2%
Canary error rate: 0.0%
Error delta: -0.2%

Status: ✓ HEALTHY (all metrics within thresholds)
`);
    expect(await readFile(output, 'utf8')).toBe(out);
  });

  it('keeps every look of a file that ends in .json', async () => {
    const output = join(folder, 'canary-metrics.json');
    await cli('canary', 'monitor', '--duration', '0', '--output', output);
    expect(JSON.parse(await readFile(output, 'utf8'))).toEqual([{ at: expect.stringMatching(/^\d{4}-/), ...health }]);
  });

  it('watches the shares of the guide one after the other when only a duration is given', async () => {
    await cli('canary', 'deploy', '--percentage', '10', '--duration', '24');
    const held = { hold_ms: 86_400_000, gate: false };
    expect(asked.find(({ path }) => path.endsWith('/deploy'))?.body).toMatchObject({ percentage: 10, stages: [{ percentage: 10, ...held }, { percentage: 50, ...held }, { percentage: 100, ...held }] });
  });

  it('writes the share into the configuration that it is shown, and nothing else', async () => {
    const file = join(folder, 'canary.yaml');
    const text = (share: number): string => `canary:\n  rolloutPercentage: ${share}   # of all\n  strategy: hash\n`;
    await writeFile(file, text(1));
    expect((await cli('canary', 'deploy', '--percentage', '10', '--config', file)).out).toContain(`updated: ${file} says 10 %`);
    expect(await readFile(file, 'utf8')).toBe(text(10));
    await cli('canary', 'deploy', '--percentage', '20', '--config', file, '--dry-run');
    expect(await readFile(file, 'utf8')).toBe(text(10));
    await cli('canary', 'rollback', '--force', '--config', file);
    expect(await readFile(file, 'utf8')).toBe(text(0));
    expect(await cli('canary', 'deploy', '--percentage', '10', '--config', join(folder, 'missing.yaml'))).toMatchObject({ code: 0, out: expect.stringContaining('was not updated') });
  });

  it('finds nothing to take back at 0 %, which is no mistake', async () => {
    rolloutNow = { ...rollout, phase: 'rolled_back', percentage: 0 };
    expect(await cli('canary', 'rollback')).toEqual({ code: 0, out: 'unchanged: rolled_back, canary at 0 %\n', problems: '' });
    expect(asked.map(({ method }) => method)).toEqual(['GET']);
  });

  it.each(['deploy', 'pause', 'resume', 'promote', 'abort', 'retry', 'rollback'])('names %s by --key, so that it may be repeated', async (name) => {
    await cli('canary', name, '--key', 'once', '--force');
    expect(asked.find(({ method }) => method === 'POST')).toMatchObject({ path: `/admin/canary/${name}`, key: 'once' });
  });

  it('deploys, and looks whether the gateway follows', async () => {
    const { code, out } = await cli('canary', 'deploy', '--percentage', '10', '--stages', '10:gate,50', '--duration', '2');
    expect({ code, out }).toEqual({ code: 0, out: 'done: running, canary at 10 %\nverified: the gateway sends 10 % to the canary\n' });
    expect(asked.find(({ path }) => path === '/admin/canary/deploy')).toMatchObject({
      token: 'Bearer the-token',
      body: { percentage: 10, stages: [{ percentage: 10, hold_ms: 7_200_000, gate: true }, { percentage: 50, hold_ms: 7_200_000, gate: false }], force: false, dry_run: false },
    });
  });

  it('only describes and plans with --dry-run', async () => {
    const { out } = await cli('canary', 'deploy', '--percentage', '10', '--dry-run');
    expect(out).toContain('Traffic over the last minute: 10.0 requests a second.');
    expect(out).toContain('100 %: there is nothing to compare with.');
    expect(out).toContain('a canary 1.5 times slower is found after 60 of its requests (about 60 s), a good one promoted after 500 (about 9 min); at risk: 7 requests.');
    expect(asked.find(({ path }) => path === '/admin/canary/deploy')?.body).toMatchObject({ dry_run: true });
  });

  it.each([['pause'], ['resume'], ['promote', '--full'], ['abort'], ['retry', '--force'], ['rollback', '--gradual']])('asks for %s', async (name, ...options) => {
    expect(await cli('canary', name, '--reason', 'why', ...options)).toMatchObject({ code: 0, out: expect.stringMatching(/^done: running, canary at 10 %\n/) });
    expect(asked.find(({ method }) => method === 'POST')).toMatchObject({ method: 'POST', path: `/admin/canary/${name}`, body: { reason: 'why', ...Object.fromEntries(options.map((option) => [option.slice(2), true])) } });
  });

  it('shows where the rollout stands', async () => {
    expect((await cli('canary', 'status')).out).toBe('inconclusive: running, canary at 10 %, stage 1 of 1\n  not worse: evidence 40 %\n  high_latency (critical): evidence 25 %, 1.20 times the baseline\n  bare ratios would have rolled back at 3 looks\n');
    expect(JSON.parse((await cli('canary', 'status', '--json')).out)).toEqual(rollout);
  });

  it('says in one line why it could not', async () => {
    refusal = 'A rollout that is rolled_back cannot pause.';
    expect(await cli('canary', 'pause')).toEqual({ code: 1, out: '', problems: 'A rollout that is rolled_back cannot pause.\n' });
    expect(await cli('canary', 'deploy', '--percentage', 'ten')).toMatchObject({ code: 2, problems: '--percentage must be a number of at least 0. See --help.\n' });
    expect(await cli('canary', 'explode')).toMatchObject({ code: 2, problems: expect.stringContaining('canary rollback') });
    await rm(join(folder, 'admin-token'));
    expect((await cli('canary', 'status')).problems).toContain('The admin token cannot be read');
  });
});
