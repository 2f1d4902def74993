import { describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { ApiKeyBalancesSchema, ApiKeySchema } from '@mlx-serving/contracts';
import { KeyLedger } from './key-ledger.ts';

const key = create(ApiKeySchema, { id: 'k', name: 'search', requestsPerMinute: 100 });
const said = (keyId: string, requestsLeft: number) => create(ApiKeyBalancesSchema, { replicaId: 'another', batch: 1n, gateways: 2, balances: [{ keyId, requestsLeft, tokensLeft: 0 }] });

function ledgerOf(): KeyLedger {
  const ledger = new KeyLedger({ replicaId: 'this', send: () => true, now: () => 0 });
  ledger.keysChanged([key]);
  return ledger;
}

describe('KeyLedger', () => {
  it('knows what a key has spent at another gateway before its first request here', () => {
    const ledger = ledgerOf();
    ledger.settle(said('k', 0));
    expect(() => ledger.budgetOf(key).admit()).toThrow(expect.objectContaining({ reason: 'RATE_LIMITED' }));
    ledger.settle(said('k', 1));
    ledger.budgetOf(key).admit();
    expect(() => ledger.budgetOf(key).admit()).toThrow(expect.objectContaining({ reason: 'RATE_LIMITED' }));
  });

  it('passes over what is said of a key that there is not, and forgets one that is revoked', () => {
    const ledger = ledgerOf();
    ledger.settle(said('unknown', 0));
    ledger.settle(said('k', 0));
    ledger.keysChanged([]);
    ledger.settle(said('k', 0));
    ledger.keysChanged([key]);
    ledger.budgetOf(key).admit();
  });
});
