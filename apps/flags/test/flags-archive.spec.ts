import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { AuditArchive } from '../src/audit/audit-archive.ts';
import { problemOf } from '../src/audit/audit-entry.ts';
import type { StoredAuditEntry } from '../src/store/flag-store.ts';
import { RedisFlagStore } from '../src/store/redis-flag-store.ts';
import { RunningFlags } from './running-flags.ts';

const who = { actor: 'alice', reason: 'a test' };
const AUDIT = 'feature_flags:audit';

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('F22: an audit trail that is kept bounded', () => {
  let flags: RunningFlags;
  let store: RedisFlagStore;
  let archive: AuditArchive;
  beforeEach(async () => {
    flags = await new RunningFlags(server.url).start();
    await flags.redis.connect();
    await flags.link('gateway-1');
    const connect = () => createRedis(server.url, silentLogger, 'archive', { commandTimeoutMs: 30_000 });
    store = new RedisFlagStore({ redis: connect(), bulk: connect(), subscriber: connect(), prefix: '', logger: silentLogger });
    let connections = 0;
    await new Promise<void>((resolve) => store.start({ onChange: () => undefined, onConnected: () => void (++connections === 2 && resolve()), onPeerMessage: () => undefined }));
    archive = new AuditArchive({ id: 'flags-1', store, folder: join(flags.folder, 'archive'), keep: 3, logger: silentLogger });
    await flags.client.setSegment({ name: 'staff', definitionJson: '{"includedKeys":["ada"]}', ...who });
    for (const percentage of [1, 2, 3]) await flags.client.patchFlag({ name: 'alpha', patchJson: JSON.stringify({ rolloutPercentage: percentage }), ...who });
    await flags.client.killFlag({ name: 'alpha', ...who });
  });
  afterEach(async () => {
    await store.stop();
    await flags.dispose();
  });

  const verify = () => flags.client.verifyAudit({});
  const at = (revision: bigint) => flags.client.getFlagsAt({ moment: { case: 'revision', value: revision } });
  const stateAt = async (revision: bigint) => {
    const { flags: held = [], segments = [] } = (await at(revision)).snapshot ?? {};
    return [held.map(({ name, definitionJson, kill }) => [name, definitionJson, kill?.actor]), segments.map(({ name, definitionJson }) => [name, definitionJson])];
  };

  it('gives its oldest entries to a file that goes on the same chain, and stays intact, searchable and a way to travel in time', async () => {
    const revisions = (await flags.client.listAudit({ flag: 'alpha' })).entries.map(({ revision }) => revision);
    const [latest, third, ...archived] = revisions as [bigint, bigint, ...bigint[]];
    const before = await Promise.all([stateAt(latest), stateAt(third)]);
    const text = readFileSync((await archive.archive()) ?? '', 'utf8');
    expect(await flags.redis.xlen(AUDIT)).toBe(4);
    let hash = '';
    for (const entry of text.trim().split('\n').map((line) => JSON.parse(line) as StoredAuditEntry)) {
      expect(problemOf(entry, hash)).toBeUndefined();
      ({ hash } = entry);
    }
    expect(await verify()).toMatchObject({ intact: true, entries: 8n, problems: [] });
    expect(await Promise.all([stateAt(latest), stateAt(third)])).toEqual(before);
    await expect(at(archived.at(-1)!)).rejects.toMatchObject({ code: 5, details: expect.stringContaining('archive') });
    expect((await flags.client.listAudit({ action: 'audit.archive' })).entries).toMatchObject([{ actor: 'archive:flags-1', after: expect.stringContaining('"file":"flags-1/1-4.jsonl"') }]);
    expect(await archive.archive()).toBeUndefined();
    for (const percentage of [4, 5]) await flags.client.patchFlag({ name: 'beta', patchJson: JSON.stringify({ rolloutPercentage: percentage }), ...who });
    expect(await archive.archive()).toMatch(/5-7\.jsonl$/);
    expect(await verify()).toMatchObject({ intact: true, problems: [] });
    expect(await stateAt(latest + 100n)).toMatchObject([[['alpha', expect.stringContaining('"rolloutPercentage":3'), 'alice'], ['beta', expect.stringContaining('"rolloutPercentage":5'), undefined]], [['staff', expect.anything()]]]);
    // A flag whose last change is in the archive is stale all the same.
    expect((await flags.client.listStaleFlags({ stableMs: 1n })).flags.map(({ name }) => name)).toContain('alpha');
  });

  it('is not shortened by hand without being found out', async () => {
    const [, , [id = '', fields = []] = []] = await flags.redis.xrange(AUDIT, '-', '+');
    await flags.redis.xtrim(AUDIT, 'MINID', `${Number(id.split('-')[0]) + 1}-0`);
    await flags.redis.hset('feature_flags:audit-base', { count: 3, hash: fields[3] ?? '', revision: id.split('-')[0] ?? '', atMs: 1, state: '' });
    expect((await verify()).problems).toEqual([expect.stringContaining('no entry says that those before it were archived')]);
  });

  it('is left as it is while something is wrong with it, so that no archive buries it', async () => {
    const all = await flags.redis.xrange(AUDIT, '-', '+');
    await flags.redis.del(AUDIT);
    for (const [id, fields] of all.filter((_, index) => index !== 1)) await flags.redis.xadd(AUDIT, id, ...fields);
    expect(await archive.archive()).toBeUndefined();
    expect(await flags.redis.xlen(AUDIT)).toBe(all.length - 1);
  });
});
