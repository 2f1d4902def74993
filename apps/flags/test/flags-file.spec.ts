import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import type { FakeGateway } from './fake-gateway.ts';
import { FILE, RunningFlags } from './running-flags.ts';

const NAME = 'feature-flags.yaml';
const withAlphaAt = (percentage: number): string => FILE.replace('rollout_percentage: 100', `rollout_percentage: ${percentage}`);

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('F12: the file is followed, however it is written', () => {
  let flags: RunningFlags;
  let gateway: FakeGateway;
  beforeEach(() => {
    flags = new RunningFlags(server.url);
  });
  afterEach(() => flags.dispose());

  const start = async (): Promise<void> => {
    await flags.start();
    gateway = await flags.link('gateway-1');
  };
  /** Waits until the gateway has a share of alpha. */
  const arrives = (percentage: number) => gateway.until(() => gateway.deltas.some(({ changed }) => changed.some(({ name, definitionJson }) => name === 'alpha' && definitionJson.includes(`"rolloutPercentage":${percentage},`))));
  const shareInForce = async () => (JSON.parse((await flags.client.getFlag({ name: 'alpha' })).flag!.definitionJson) as { rolloutPercentage: number }).rolloutPercentage;

  it('by an editor that puts a new file in its place, more than once', async () => {
    await start();
    for (const percentage of [11, 12, 13]) {
      writeFileSync(join(flags.folder, '.swap'), withAlphaAt(percentage));
      renameSync(join(flags.folder, '.swap'), join(flags.folder, NAME));
      await arrives(percentage);
    }
  });

  it('by a symbolic link that is swapped, as Kubernetes does with a ConfigMap', async () => {
    const volume = (version: string, percentage: number): void => {
      mkdirSync(join(flags.folder, version));
      writeFileSync(join(flags.folder, version, NAME), withAlphaAt(percentage));
      symlinkSync(version, join(flags.folder, '..data_tmp'));
      renameSync(join(flags.folder, '..data_tmp'), join(flags.folder, '..data'));
    };
    volume('..2026_01', 21);
    rmSync(join(flags.folder, NAME));
    symlinkSync(join('..data', NAME), join(flags.folder, NAME));
    await start();
    expect(await shareInForce()).toBe(21);
    volume('..2026_02', 22);
    rmSync(join(flags.folder, '..2026_01'), { recursive: true });
    await arrives(22);
  });

  it('in two halves: the first is refused and changes nothing, the whole is taken', async () => {
    await start();
    const whole = `${withAlphaAt(31)}gamma: { enabled: true, hash_seed: "g" }\n`;
    const half = whole.indexOf('"g"') + 2;
    writeFileSync(join(flags.folder, NAME), whole.slice(0, half));
    while (!/refused_files_total [1-9]/.test((await flags.operations('/metrics')).text));
    expect(await shareInForce()).toBe(100);
    appendFileSync(join(flags.folder, NAME), whole.slice(half));
    await arrives(31);
    await gateway.deltaOf('gamma');
  });

  it('while it is gone: what it said holds, and what comes back is taken', async () => {
    await start();
    rmSync(join(flags.folder, NAME));
    while (!/refused_files_total [1-9]/.test((await flags.operations('/metrics')).text));
    expect(await shareInForce()).toBe(100);
    flags.writeFile(withAlphaAt(41));
    await arrives(41);
  });
});
