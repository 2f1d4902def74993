import { describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { FlagSnapshotSchema, ImpactQuestionSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import { previewImpact } from './preview-impact.ts';
import { RecentContexts } from './recent-contexts.ts';

const flags = new FlagSnapshotStore(silentLogger);
flags.apply(create(FlagSnapshotSchema, { revision: 1n, flags: [{ name: 'alpha', definitionJson: '{"enabled":true,"rolloutPercentage":10}', revision: 1n }] }));
const contexts = new RecentContexts(1_000);
for (let i = 0; i < 1_500; i++) contexts.add(`user_${i}`, { model: i % 2 ? 'a' : 'b' });
const preview = (flag: string, definition: object) => previewImpact(create(ImpactQuestionSchema, { id: '1', flag, definitionJson: JSON.stringify(definition) }), flags, contexts, 'development');

describe('the preview of a draft', () => {
  it('counts what is turned on and off among the recent keys, which are bounded', async () => {
    const wider = await preview('alpha', { enabled: true, rolloutPercentage: 30 });
    expect(Number(wider.contexts)).toBe(1_000);
    expect(Number(wider.turnedOff)).toBe(0);
    expect(Number(wider.turnedOn)).toBeGreaterThan(120);
    expect(Number(wider.turnedOn)).toBeLessThan(280);
    const off = await preview('alpha', { enabled: false });
    expect([off.turnedOn, off.onAfter]).toEqual([0n, 0n]);
    expect(off.turnedOff).toBe(wider.onAfter - wider.turnedOn);
  });

  it('knows a flag that does not exist yet, and its rules', async () => {
    const fresh = await preview('fresh', { enabled: true, rules: [{ attribute: 'model', operator: 'equals', value: 'a' }] });
    expect(fresh).toMatchObject({ turnedOn: 500n, turnedOff: 0n });
    expect(flags.flags.evaluate('fresh', { key: 'user_1501' }).reason).toBe('FLAG_NOT_FOUND');
  });
});
