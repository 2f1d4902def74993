import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { RoutingTableSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { StateFile } from './state-file.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'state-'));
});
afterEach(() => rm(directory, { recursive: true }));

const file = () => new StateFile(RoutingTableSchema, join(directory, 'deep', 'routing.json'), silentLogger);
const table = (revision: bigint) => create(RoutingTableSchema, { revision, rolloutPercentage: 1.5 });

describe('StateFile', () => {
  it('keeps the newest of a burst and gives it back', async () => {
    const state = file();
    for (let revision = 1n; revision <= 50n; revision++) state.save(table(revision));
    await state.settled();
    expect(await file().load()).toMatchObject({ revision: 50n, rolloutPercentage: 1.5 });
    expect(await readdir(join(directory, 'deep'))).toEqual(['routing.json']);
  });

  it('makes what is kept when it is written, once for many changes', async () => {
    const state = file();
    let made = 0n;
    for (let change = 0; change < 50; change++) state.save(() => table(++made));
    expect(made).toBe(0n);
    await state.settled();
    expect(await file().load()).toMatchObject({ revision: 1n });
  });

  it('has nothing before anything was kept', async () => {
    expect(await file().load()).toBeUndefined();
  });

  it('takes a file that cannot be read for none, and goes on keeping', async () => {
    const state = file();
    state.save(table(1n));
    await state.settled();
    await writeFile(join(directory, 'deep', 'routing.json'), '{half');
    expect(await file().load()).toBeUndefined();
    state.save(table(2n));
    await state.settled();
    expect(JSON.parse(await readFile(join(directory, 'deep', 'routing.json'), 'utf8'))).toMatchObject({ revision: '2' });
  });
});
