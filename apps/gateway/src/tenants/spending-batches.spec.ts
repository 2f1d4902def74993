import { describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { ApiKeyBalancesSchema, ApiKeySchema, type ApiKeyUsage } from '@mlx-serving/contracts';
import { KeyLedger } from './key-ledger.ts';

describe('what the keys spend at a gateway', () => {
  it('goes up under the same name until it is answered, and under another after a restart', () => {
    const sent: ApiKeyUsage[] = [];
    let now = 0;
    const ledger = () => new KeyLedger({ replicaId: 'one', send: (usage) => sent.push(usage) > 0, now: () => now });
    const first = ledger();
    const spend = (one: KeyLedger): void => {
      one.budgetOf(create(ApiKeySchema, { id: 'k' })).used(5);
      one.flush();
    };
    spend(first);
    now = 5_000;
    first.flush();
    first.settle(create(ApiKeyBalancesSchema, { replicaId: 'one', batch: sent[0]!.batch }));
    spend(first);
    spend(ledger());
    const [a, again, next, restarted] = sent.map(({ epoch, batch }) => ({ epoch, batch }));
    expect(again).toEqual(a);
    expect(next).toEqual({ epoch: a!.epoch, batch: 2n });
    expect([restarted!.batch, restarted!.epoch === a!.epoch || restarted!.epoch === '']).toEqual([1n, false]);
  });
});
