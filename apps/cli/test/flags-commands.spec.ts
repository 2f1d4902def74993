import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { closeHttpServer, listen, readEnvironment } from '@mlx-serving/service-kit';
import { environment } from '../src/config.ts';
import { runCommand } from '../src/run-command.ts';

describe('mlx-serving flags', () => {
  let server: Server;
  let folder: string;
  let url: string;
  let asked: { call: string; body: unknown }[];
  let answer: object;

  beforeEach(async () => {
    asked = [];
    folder = await mkdtemp(join(tmpdir(), 'cli-'));
    await writeFile(join(folder, 'admin-token'), 'the-token\n');
    server = createServer((request, response) => {
      let text = '';
      request.on('data', (part: Buffer) => (text += part.toString()));
      request.on('end', () => {
        asked.push({ call: `${request.method} ${request.url}`, body: text ? JSON.parse(text) : undefined });
        response.writeHead(200).end(JSON.stringify(answer));
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
    const code = await runCommand(['flags', ...args], config, { write: (text) => out.push(text) }, { write: (text) => problems.push(text) });
    return { code, out: out.join(''), problems: problems.join('') };
  }

  it('F19: kills without a reason, tells who has it, and fails when a gateway has not', async () => {
    answer = { success: true, message: 'Kill switch activated for alpha', acknowledged: [{ replica: 'gateway-1', milliseconds: 1.23 }], missing: [], durable: true };
    expect(await cli('kill', 'alpha')).toEqual({ code: 0, out: 'Kill switch activated for alpha\n  gateway-1 has it after 1.2 ms\n', problems: '' });
    expect(asked).toEqual([{ call: 'POST /admin/flags/alpha/kill', body: {} }]);
    answer = { ...answer, missing: ['gateway-2'], durable: false };
    const { code, out } = await cli('kill', 'alpha', '--reason', 'it burns');
    expect(code).toBe(1);
    expect(out).toContain('gateway-2 HAS NOT ACKNOWLEDGED IT');
    expect(out).toContain('the kill is on disk');
    expect(asked[1]?.body).toEqual({ reason: 'it burns' });
  });

  it('F22: fails when the audit trail is not intact', async () => {
    answer = { intact: false, entries: 3, head_hash: 'x', problems: ['Entry 2-1 was edited.'] };
    expect(await cli('verify')).toMatchObject({ code: 1, out: expect.stringContaining('Entry 2-1 was edited.') });
    answer = { intact: true, entries: 3, head_hash: 'x', problems: [] };
    expect((await cli('verify')).code).toBe(0);
  });

  it('F25: lists stale flags with where the code names them', async () => {
    await writeFile(join(folder, 'app.ts'), "isEnabled('old_one')\n");
    answer = [{ name: 'old_one', why: 'rolled-out', sinceMs: 0, decisions: 7 }, { name: 'gone', why: 'never-evaluated', sinceMs: 0, decisions: 0 }];
    const { out } = await cli('stale', '--scan', folder);
    expect(out).toContain('old_one: fully on, unchanged since 1970-01-01T00:00:00.000Z, 7 decisions\n  app.ts:1\n');
    expect(out).toContain('gone: never evaluated, unchanged since 1970-01-01T00:00:00.000Z, 0 decisions\n  no reference in the code: it can be deleted\n');
  });

  it.each<[string[], string, unknown]>([
    [['patch', 'alpha', '{"rolloutPercentage":5}', '--reason', 'a step'], 'PATCH /admin/flags/alpha?reason=a%20step', { rolloutPercentage: 5 }],
    [['delete', 'alpha'], 'DELETE /admin/flags/alpha', undefined],
    [['revert', 'alpha', '7'], 'POST /admin/flags/alpha/revert', { revision: 7 }],
    [['emergency', 'on'], 'POST /admin/emergency', { kill_switch: true }],
    [['store', 'reseed'], 'POST /admin/store/reseed', { reason: '' }],
    [['pending', 'approve', 'abc'], 'POST /admin/pending/abc/approve', {}],
    [['rollout', 'start', 'alpha', '--stages', '1,10', '--wait', '5'], 'POST /admin/flags/alpha/rollout', { stages: [{ percentage: 1, wait_ms: 300_000 }, { percentage: 10, wait_ms: 300_000 }] }],
    [['rollout', 'pause', 'alpha'], 'POST /admin/flags/alpha/rollout/pause', {}],
    [['tokens', 'create', 'olga', 'operator'], 'POST /admin/tokens', { name: 'olga', role: 'operator' }],
  ])('asks for what %j says', async (args, call, body) => {
    answer = { success: true, message: 'done', secret: 's' };
    expect((await cli(...args)).code).toBe(0);
    expect(asked).toEqual([{ call, body }]);
  });

  it.each([[['kill']], [['patch', 'alpha', 'nonsense']], [['store', 'burn']], [['emergency']]])('does not understand %j, and says so', async (args) => {
    expect(await cli(...args)).toMatchObject({ code: 2, problems: expect.stringContaining('--help') });
    expect(asked).toEqual([]);
  });
});
