import { describe, expect, it } from '@jest/globals';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Decision, RoutingTableSchema } from '@mlx-serving/contracts';
import { compileFlags } from '@mlx-serving/evaluation';
import { flagConfig } from '@mlx-serving/policy';
import fc from 'fast-check';
import { decide, type FlagState } from './decide.ts';
import { RoutingPlaces } from './routing-places.ts';

const flags = compileFlags({
  flags: [
    { name: 'on', config: flagConfig.parse({ enabled: true }), killed: false },
    { name: 'killed', config: flagConfig.parse({ enabled: true }), killed: true },
    { name: 'half', config: flagConfig.parse({ enabled: true, rolloutPercentage: 50, hashSeed: 's' }), killed: false },
  ],
  emergency: { killSwitch: false, rollbackToBaseline: false },
});
const snapshot: FlagState = { revision: 12n, flags, rollbackToBaseline: false };
const table = (more: MessageInitShape<typeof RoutingTableSchema> = {}) =>
  create(RoutingTableSchema, { revision: 3n, enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'user_id', hashSeed: 'canary', ...more });

interface Asked {
  requestId?: string;
  user?: string | undefined;
  draw?: number;
}

function decided(routing: MessageInitShape<typeof RoutingTableSchema>, { requestId = 'r', user, draw = 0 }: Asked = {}, canaryAvailable = true): Decision {
  return decide(snapshot, { table: table(routing), canaryAvailable }, { requestId, user, draw, model: 'm' });
}

const percentage = fc.integer({ min: 0, max: 100_000 }).map((thousandths) => thousandths / 1_000);

describe('decide', () => {
  it('says which flags hold and why each does or does not', () => {
    const decision = decided({}, { user: 'ada' });
    expect(decision).toMatchObject({ requestId: 'r', flagsRevision: 12n, routingRevision: 3n, flagReasons: { on: 'ROLLED_OUT', killed: 'KILLED' } });
    expect(decision.enabledFlags).toContain('on');
    expect(decision.enabledFlags).not.toContain('killed');
    expect(decision.routingKeyHash).toMatch(/^[0-9a-f]{16}$/);
  });

  it('gives the reason for the variant', () => {
    const request = { requestId: 'r', user: 'u', draw: 0, model: 'm' };
    const reason = (state: Partial<FlagState>, enabled: boolean, canaryAvailable: boolean, rolloutPercentage: number) =>
      decide({ ...snapshot, ...state }, { table: table({ enabled, rolloutPercentage }), canaryAvailable }, request).variantReason;
    expect(reason({ rollbackToBaseline: true }, true, true, 100)).toBe('ROLLBACK_TO_BASELINE');
    expect(reason({}, false, true, 100)).toBe('CANARY_DISABLED');
    expect(reason({}, true, false, 100)).toBe('NO_CANARY_WORKER');
    expect(reason({}, true, true, 0)).toBe('OUTSIDE_CANARY_SHARE');
    expect(reason({}, true, true, 100)).toBe('IN_CANARY_SHARE');
    expect(decide(snapshot, { table: undefined, canaryAvailable: true }, request).variantReason).toBe('CANARY_DISABLED');
  });

  it('keeps a user at one variant and at the same flags, whatever the request', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), percentage, (user, one, other, rolloutPercentage) => {
        const [first, second] = [one, other].map((requestId) => decided({ rolloutPercentage }, { requestId, user })) as [Decision, Decision];
        expect([first.variant, first.enabledFlags]).toEqual([second.variant, second.enabledFlags]);
      }),
    );
  });

  it('never moves anyone off the canary when the share grows', () => {
    fc.assert(
      fc.property(fc.string(), percentage, percentage, (user, a, b) => {
        const small = decided({ rolloutPercentage: Math.min(a, b) }, { user }).variant;
        const large = decided({ rolloutPercentage: Math.max(a, b) }, { user }).variant;
        expect(small === 'canary' && large === 'baseline').toBe(false);
      }),
    );
  });

  it('gives the canary its share', () => {
    const users = Array.from({ length: 10_000 }, (_, index) => `user-${index}`);
    const share = users.filter((user) => decided({ rolloutPercentage: 10 }, { user }).variant === 'canary').length / users.length;
    expect(share).toBeGreaterThan(0.085);
    expect(share).toBeLessThan(0.115);
  });

  it('takes a request without a user for a unit of its own', () => {
    fc.assert(
      fc.property(fc.string(), percentage, (requestId, rolloutPercentage) => {
        const anonymous = decided({ rolloutPercentage }, { requestId });
        const sameKey = decided({ rolloutPercentage }, { user: requestId });
        expect([anonymous.variant, anonymous.routingKeyHash]).toEqual([sameKey.variant, sameKey.routingKeyHash]);
      }),
    );
  });

  it('hashes what hashKey names: a tenant, the model or any header, and the request id where there is none', () => {
    const headers: Record<string, string> = { 'x-team': 'blue' };
    const decideBy = (hashKey: string, requestId: string, more: object = {}) =>
      decide(snapshot, { table: table({ hashKey }), canaryAvailable: true }, { requestId, user: 'u', draw: 0, model: 'm', header: (name: string) => headers[name], ...more });
    const ids = Array.from({ length: 40 }, (_, index) => `r${index}`);
    for (const [hashKey, more] of [['header:x-team', {}], ['tenant', { tenant: 'acme' }], ['model', {}]] as const) {
      const found = ids.map((id) => decideBy(hashKey, id, more));
      expect(new Set(found.map(({ variant, routingKeyHash }) => `${variant} ${routingKeyHash}`)).size).toBe(1);
    }
    expect(decideBy('header:x-team', 'a').routingKeyHash).toBe(decided({}, { user: 'blue' }).routingKeyHash);
    for (const hashKey of ['header:x-absent', 'tenant']) expect(new Set(ids.map((id) => decideBy(hashKey, id).variant)).size).toBe(2);
  });

  it('decides the same whether a place is remembered or not, also when share and seed change', () => {
    const places = new RoutingPlaces();
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), percentage, fc.constantFrom('one', 'two'), fc.nat(4)), { maxLength: 30 }), (asks) => {
        for (const [user, rolloutPercentage, hashSeed, size] of asks) {
          places.configure(hashSeed, size);
          const routing = { table: table({ rolloutPercentage, hashSeed }), canaryAvailable: true };
          const request = { requestId: 'r', user, draw: 0, model: 'm' };
          expect(decide(snapshot, { ...routing, places }, request)).toEqual(decide(snapshot, routing, request));
          expect(places.size).toBeLessThanOrEqual(size);
        }
      }),
    );
  });

  it('sends everything to the baseline when the lease has ended', () => {
    const request = { requestId: 'r', user: 'u', draw: 0, model: 'm' };
    expect(decide(snapshot, { table: table({ rolloutPercentage: 100 }), canaryAvailable: true, leaseEnded: true }, request)).toMatchObject({ variant: 'baseline', variantReason: 'LEASE_ENDED' });
  });

  it('hashes the request id for hash key request_id, and draws for strategy random', () => {
    const variants = (routing: object, asked: (index: number) => Asked) => new Set(Array.from({ length: 50 }, (_, index) => decided(routing, asked(index)).variant));
    expect(variants({ hashKey: 'request_id' }, (index) => ({ user: 'u', requestId: String(index) })).size).toBe(2);
    expect(decided({ strategy: 'random' }, { draw: 0.499 }).variant).toBe('canary');
    expect(decided({ strategy: 'random' }, { draw: 0.5 }).variant).toBe('baseline');
  });
});
