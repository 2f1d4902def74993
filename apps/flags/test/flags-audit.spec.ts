import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { RunningFlags } from './running-flags.ts';

const who = { actor: 'alice', reason: 'a test' };
type Entry = [id: string, fields: string[]];

let server: RedisProcess;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

describe('F22: the audit trail', () => {
  let flags: RunningFlags;
  beforeEach(async () => {
    flags = await new RunningFlags(server.url).start();
    await flags.redis.connect();
    await flags.link('gateway-1');
    for (const percentage of [1, 2, 3]) await flags.client.patchFlag({ name: 'alpha', patchJson: JSON.stringify({ rolloutPercentage: percentage }), ...who });
    await flags.client.killFlag({ name: 'alpha', ...who });
  });
  afterEach(() => flags.dispose());

  const entries = async (): Promise<Entry[]> => flags.redis.xrange('feature_flags:audit', '-', '+');
  const rewrite = async (change: (all: Entry[]) => Entry[]): Promise<void> => {
    const all = change(await entries());
    await flags.redis.del('feature_flags:audit');
    for (const [id, fields] of all) await flags.redis.xadd('feature_flags:audit', id, ...fields);
  };
  const verify = () => flags.client.verifyAudit({});

  it('is intact after changes through the API, of the file and by other tools, which are named as external', async () => {
    await flags.redis.hset('feature_flags', 'raw', '{"enabled":true}');
    const external = async () => (await flags.client.listAudit({ flag: 'raw' })).entries;
    while ((await external()).length === 0);
    expect(await external()).toMatchObject([{ action: 'external', actor: 'external', after: '{"enabled":true}' }]);
    expect(await verify()).toMatchObject({ intact: true, entries: 7n, problems: [] });
    const [{ revision } = { revision: 0n }] = (await flags.client.listAudit({ flag: 'alpha', action: 'kill' })).entries;
    expect(revision).toBe((await flags.client.getFlag({ name: 'alpha' })).flag?.revision);
  });

  it.each<[string, (all: Entry[]) => Entry[], RegExp]>([
    ['an entry whose actor was edited', (all) => all.map(([id, fields], i) => [id, i === 2 ? fields.map((text) => text.replace('"actor":"alice"', '"actor":"mallory"')) : fields]), /was edited/],
    ['an entry whose text after the change was edited', (all) => all.map(([id, fields], i) => [id, i === 2 ? fields.map((text) => (text.startsWith('{"enabled"') ? text.replace('"enabled":true', '"enabled":false') : text)) : fields]), /was edited/],
    ['an entry that was removed', (all) => all.filter((_, i) => i !== 2), /removed, added or moved/],
    ['the last entry removed', (all) => all.slice(0, -1), /entries were removed|not the one that was noted/],
    ['the first entry removed', (all) => all.slice(1), /removed, added or moved/],
    ['two entries that changed places', (all) => all.map(([id], i) => [id, all[i === 2 ? 3 : i === 3 ? 2 : i]![1]]), /was moved/],
  ])('finds %s', async (_, change, problem) => {
    await rewrite(change);
    const { intact, problems } = await verify();
    expect(intact).toBe(false);
    expect(problems.join('\n')).toMatch(problem);
  });

  it('finds a trail that was shortened together with its head', async () => {
    // The write of a segment ends with a full read, which notes where the trail ends.
    await flags.client.setSegment({ name: 'noted', definitionJson: '{}', ...who });
    const all = await entries();
    await rewrite((list) => list.slice(0, -2));
    await flags.redis.hset('feature_flags:audit-head', { count: all.length - 2, hash: all.at(-3)![1][3]! });
    expect((await verify()).problems.join('\n')).toMatch(/entries were removed/);
  });

  it('answers how a flag stood and decided at every revision', async () => {
    const revisions = (await flags.client.listAudit({ flag: 'alpha' })).entries.map(({ revision }) => revision).reverse();
    const seen = [];
    for (const revision of revisions) {
      const { snapshot, enabled, reason } = await flags.client.getFlagsAt({ moment: { case: 'revision', value: revision }, name: 'alpha', key: 'user_1' });
      seen.push([JSON.parse(snapshot!.flags[0]!.definitionJson).rolloutPercentage, enabled, reason]);
    }
    expect(seen).toEqual([[100, true, 'ROLLED_OUT'], [1, false, 'NOT_ROLLED_OUT'], [2, false, 'NOT_ROLLED_OUT'], [3, false, 'NOT_ROLLED_OUT'], [3, false, 'KILLED']]);
  });
});
