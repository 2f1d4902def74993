import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkPolicies, runtimeFile } from '@mlx-serving/policy';
import { parse, stringify } from 'yaml';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, root, Stack, stopAll, temporaryFolder } from './stack.ts';

const page = readFileSync(join(root, 'docs', 'qos.md'), 'utf8');
const blocks = (language: string): string[] => [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1] as string);

interface Action {
  readonly id: string;
  readonly outcome: string;
}

let stack: Stack;
let folder: string;
/** The policies of the page's example. */
let policies: Record<string, unknown>[];

/** The first policy is violated from the first requests on, so that there is something to explain. */
function writeConfig(config: string): void {
  const path = join(config, 'runtime.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace('threshold: 550 ', 'threshold: 0 ').replace(/threshold: 550$/m, 'threshold: 0').replace('evaluation_interval_ms: 5000', 'evaluation_interval_ms: 250'));
}

/** Runs a line of the page as it stands there, in a folder that has what it names. */
function run(line: string): { status: number | null; output: string } {
  const command = line.replace(/ +#.*$/, '').replace('tools/', `${join(root, 'tools')}/`);
  const env = { ...process.env, MLX_SERVING_ADMIN_URL: stack.urls.admin, MLX_SERVING_GATEWAY_URL: stack.urls.gateway, MLX_SERVING_ADMIN_TOKEN_FILE: stack.urls.adminTokenFile };
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: folder, env, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

const actions = async (): Promise<Action[]> => (await admin<{ actions: Action[] }>(stack, 'GET', '/admin/qos/actions')).actions;

beforeAll(async () => {
  const config = copyOfConfig();
  writeConfig(config);
  stack = await Stack.start({ config });
  await Promise.all(Array.from({ length: 30 }, (_, user) => chat(stack, { maxTokens: 2, user: `user-${user}` })));
  await eventually(async () => (await actions()).some(({ outcome }) => outcome === 'executed'));
  folder = temporaryFolder();
  mkdirSync(join(folder, 'config'));
  writeFileSync(join(folder, 'config', 'runtime.yaml'), readFileSync(join(root, 'config', 'runtime.yaml')));
  policies = (parse(blocks('yaml')[0] ?? '') as { qos_monitor: { policy_store: { policies: Record<string, unknown>[] } } }).qos_monitor.policy_store.policies;
  writeFileSync(join(folder, 'my-policies.yaml'), stringify(policies));
});

afterAll(stopAll);

describe('docs/qos.md', () => {
  it('shows policies that hold', () => {
    const runtime = parse(readFileSync(join(root, 'config', 'runtime.yaml'), 'utf8')) as Record<'qos_monitor', object>;
    const whole = runtimeFile.parse({ ...runtime, qos_monitor: { ...runtime.qos_monitor, policy_store: { policies } } });
    expect([whole.qos_monitor.policy_store.policies.length, checkPolicies(whole)]).toEqual([1, []]);
  });

  it('shows commands that do what is said beside them', async () => {
    const [{ id } = { id: '' }] = (await actions()).filter(({ outcome }) => outcome === 'executed');
    const answers = new Map<string, string>();
    for (const line of blocks('sh').flatMap((block) => block.split('\n').filter(Boolean))) {
      const { status, output } = run(line.replace('action-12', id));
      const name = line.split(' ')[2] ?? '';
      expect([line, status, output]).toEqual([line, name === 'state' ? 1 : 0, expect.any(String)]);
      answers.set(name, output);
    }
    expect([...answers.keys()].sort()).toEqual(['actions', 'dry-run', 'explain', 'policies', 'record', 'replay', 'state', 'validate']);
    expect(answers.get('validate')).toContain('✓ 2 policies are valid');
    expect(answers.get('policies')).toMatch(/^default_ttft_policy \(priority 100\): ttft_p95 0 → scale_up/);
    expect(answers.get('state')).toMatch(/✗ default_ttft_policy\/ttft_p95: violated[\s\S]*holds limit at 69 for default_ttft_policy: TTFT SLO violated/);
    expect(answers.get('actions')).toMatch(/executed +scale_up on limit 64 → 69, policy default_ttft_policy: slo_violated/);
    expect(answers.get('explain')).toMatch(/ttft_p95 was [\s\S]*64 → 69: executed[\s\S]*Rule slo_violated/);
    expect(answers.get('dry-run')).toMatch(/\d+ requests, \d+ evaluations[\s\S]*default_ttft_policy\/ttft_p95/);
    expect(answers.get('replay')).toMatch(/\d+ requests, \d+ evaluations[\s\S]*default_ttft_policy\/ttft_p95/);
    expect(readFileSync(join(folder, 'traffic.jsonl'), 'utf8').trim().split('\n').length).toBeGreaterThanOrEqual(30);
  }, 120_000);

  it('names routes that there are', async () => {
    const [{ id } = { id: '' }] = await actions();
    const paths = [...page.matchAll(/`(?:GET |POST )?(\/admin\/qos[^`]*)`/g)].map((match) => match[1] as string);
    expect(paths.sort()).toEqual(['/admin/qos', '/admin/qos/actions', '/admin/qos/actions/:id', '/admin/qos/policies', '/admin/qos/recording', '/admin/qos/replay']);
    for (const path of paths) await admin(stack, path.endsWith('replay') ? 'POST' : 'GET', path.replace(':id', id), path.endsWith('replay') ? {} : undefined);
  });

  it('shows a program that prints what it says', () => {
    const place = join(root, '.mlx-serving', 'qos-docs');
    mkdirSync(place, { recursive: true });
    const file = join(place, 'example.ts');
    writeFileSync(file, blocks('ts')[0] ?? '');
    const { stdout, stderr } = spawnSync('node', ['--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', file], { encoding: 'utf8' });
    rmSync(place, { recursive: true });
    expect([stdout.trim().split('\n'), stderr]).toEqual([['first-token: 0 violated', 'ttft_p95 is 900', 'scale_up to 69', 'first-token: 1 violated', '900'], '']);
  });
});
