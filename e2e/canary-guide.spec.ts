import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { forBusyMachine } from './busy-machine.ts';
import { admin, commandEnvironment, output } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, root, Stack, temporaryFolder } from './stack.ts';

/*
 * The walk-through of docs/canary.md, command by command as it stands there. Only addresses differ, and what a busy machine
 * needs: see `forBusyMachine`, and blocks of time of 2 s.
 */
const page = readFileSync(join(root, 'docs', 'canary.md'), 'utf8').split('## A first canary')[1]?.split('\n## ')[0] ?? '';
const [startOf = '', users = '', watching = '', approving = '', breaking = ''] = [...page.matchAll(/```sh\n([^`]+)```/g)].map(([, text = '']) => text);

let stack: Stack;
let traffic: ChildProcess | undefined;
const folder = temporaryFolder();

beforeAll(async () => {
  const config = copyOfConfig();
  const file = join(config, 'canary.yaml');
  writeFileSync(file, forBusyMachine(readFileSync(file, 'utf8')).replace('intervalMs: 5000', 'intervalMs: 2000'));
  const [before, start] = startOf.trim().split('\n');
  await sh(before ?? '');
  expect(start).toBe('MLX_WORKER_FAULT=faults.json npm start -- --canary');
  stack = await Stack.start({ canary: true, config, env: { MLX_WORKER_FAULT: join(folder, 'faults.json') } });
});

afterAll(async () => {
  if (traffic?.pid !== undefined) process.kill(-traffic.pid, 'SIGKILL');
  await stack?.stop();
});

/** One command of the page, as somebody would type it. The scripts are the checkout's, files are in a folder of the test. */
function sh(line: string): Promise<string> {
  const text = line.replace(/^tools\//, `${root}/tools/`).replace('--duration 2', '--duration 0');
  return output(['sh', '-c', `cd ${folder} && ${text}`], '', stack ? commandEnvironment(stack) : {});
}

/** A command that says something in the end: evidence may be just enough, and a moment later just not. */
const says = (line: string, wanted: RegExp): Promise<unknown> => eventually(async () => expect(await sh(line)).toMatch(wanted), 60_000);

const rollout = () => admin<{ status: string; reason: string; percentage: number; history: { event: string; actor: string; percentage: number }[] }>(stack, 'GET', '/admin/canary/rollout');
const status = (wanted: string): Promise<unknown> =>
  eventually(async () => {
    const found = await rollout();
    if (found.status !== wanted) throw new Error(`It is ${found.status} (${found.reason}), at ${found.percentage} %.`);
    return found;
  }, 200_000);

describe('a first canary, as docs/canary.md shows it', () => {
  it('C7: is planned, goes through a stage on evidence, waits at its gate, and is promoted', async () => {
    traffic = spawn('sh', ['-c', users.replaceAll('http://127.0.0.1:3000', stack.urls.gateway)], { detached: true, stdio: 'ignore' });
    await eventually(async () => Number((await admin<{ requestsPerSecond: number }>(stack, 'POST', '/admin/canary/plan', { percentage: 40 })).requestsPerSecond) > 1);
    const [plan = '', deploy = '', monitor = ''] = watching.trim().split('\n');
    expect(await sh(plan)).toMatch(/^Traffic over the last minute: [\d.]+ requests a second\.\n40 %: a canary 1\.5 times slower is found after \d+ of its requests .*\n60 %: .*\n100 %: there is nothing to compare with\.\n/);
    expect(await sh(deploy)).toContain('verified: the gateway sends 40 % to the canary');
    await status('waiting_for_approval');
    await says(monitor, /Rollout: 60%\n[^]*WAITING FOR APPROVAL/);
    const [state = '', promote = ''] = approving.trim().split('\n');
    await says(state, /waiting_for_approval: running, canary at 60 %, stage 2 of 3/);
    expect(await sh(promote)).toContain('done: promoted, canary at 100 %');
    expect((await rollout()).history.slice(-3)).toMatchObject([{ event: 'started', percentage: 40 }, { event: 'stage', percentage: 60, actor: 'controller' }, { event: 'promoted', percentage: 100, actor: expect.stringContaining('cli') }]);
  }, 300_000);

  it('C2: is taken back, deployed anew, and rolled back when it becomes slow', async () => {
    const [back = '', deploy = '', fault = '', monitor = '', why = ''] = breaking.trim().split('\n');
    expect(await sh(back)).toContain('done: rolled_back, canary at 0 %');
    expect(await sh(deploy)).toContain('verified: the gateway sends 50 % to the canary');
    await sh(fault);
    await status('rolled_back');
    await says(`${monitor} || true`, /ROLLED BACK/);
    await says(why, /^rolled_back \(high_latency\): rolled_back, canary at 0 %/);
    expect(readFileSync(join(stack.config, 'canary.yaml'), 'utf8')).toContain('rolloutPercentage: 50');
  }, 240_000);
});
