import { describe, expect, it } from '@jest/globals';
import { flagConfig, segmentDefinition } from '@mlx-serving/policy';
import fc from 'fast-check';
import type { FlagInput } from './compiled-flags.ts';
import { compileFlags, FlagSet } from './flag-set.ts';

const calm = { killSwitch: false, rollbackToBaseline: false };
const flag = (name: string, config: object = {}, killed = false): FlagInput => ({ name, config: flagConfig.parse({ enabled: true, ...config }), killed });
const set = (...flags: FlagInput[]): FlagSet => compileFlags({ flags, emergency: calm });
const isOn = (flags: FlagSet, name: string): boolean => flags.evaluate(name, { key: 'u' }).enabled;

describe('a change of a flag set', () => {
  it('answers as if everything had been compiled anew', () => {
    const names = fc.constantFrom('a', 'b', 'c', 'd', 'a.x', 'b.x');
    const config = fc.record({
      enabled: fc.boolean(),
      requires: fc.array(names, { maxLength: 2 }),
      hashSeed: fc.option(fc.constantFrom('s', 't'), { nil: undefined }),
      rolloutPercentage: fc.constantFrom(0, 50, 100),
    });
    const step = fc.oneof(fc.record({ name: names, config, killed: fc.boolean() }), fc.record({ removed: names }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const live = new FlagSet();
        const held = new Map<string, FlagInput>();
        for (const change of steps) {
          if ('removed' in change) {
            held.delete(change.removed);
            live.apply({ removed: [change.removed] });
          } else {
            const input = flag(change.name, change.config, change.killed);
            held.set(change.name, input);
            live.apply({ changed: [input] });
          }
          // Questions in between must leave nothing behind.
          live.evaluateAll({ key: 'u' });
          const anew = set(...held.values());
          expect(live.names).toEqual(anew.names);
          for (const key of ['u', 'v', undefined]) expect(live.evaluateAll({ key })).toEqual(anew.evaluateAll({ key }));
        }
      }),
    );
  });

  it('compiles only what it changes: others keep the very answers that they had', () => {
    const variants = [{ name: 'only', weight: 100, payload: { a: 1 } }];
    const flags = set(flag('a', { variants }), flag('b', { variants }));
    const before = [flags.evaluate('a', {}), flags.evaluate('b', {})];
    flags.apply({ changed: [flag('b', { variants })] });
    expect([flags.evaluate('a', {}) === before[0], flags.evaluate('b', {}) === before[1]]).toEqual([true, false]);
  });

  it('kills and revives without compiling: the flag keeps the very answers that it had', () => {
    const alive = flag('a', { variants: [{ name: 'only', weight: 100, payload: { a: 1 } }] });
    const flags = set(alive);
    const before = flags.evaluate('a', {});
    flags.apply({ changed: [{ ...alive, killed: true }] });
    expect(flags.evaluate('a', {}).reason).toBe('KILLED');
    flags.apply({ changed: [alive] });
    expect(flags.evaluate('a', {})).toBe(before);
  });

  it('keeps a flag off that its definition kills when its latch is lifted', () => {
    const off = flag('a', { killSwitch: true }, true);
    const flags = set(off);
    flags.apply({ changed: [{ ...off, killed: false }] });
    expect(flags.evaluate('a', {}).reason).toBe('KILLED');
  });

  it('takes a flag that others need away, and back', () => {
    const flags = set(flag('base'), flag('a', { requires: ['base'] }), flag('p'), flag('p.x'));
    flags.apply({ removed: ['base', 'p'] });
    expect([isOn(flags, 'a'), isOn(flags, 'p.x'), flags.evaluate('base', {}).reason]).toEqual([false, false, 'FLAG_NOT_FOUND']);
    flags.apply({ changed: [flag('base'), flag('p')] });
    expect([isOn(flags, 'a'), isOn(flags, 'p.x')]).toEqual([true, true]);
  });

  it('notices a circle that a change closes, and one that it opens', () => {
    const flags = set(flag('a', { requires: ['b'] }), flag('b'));
    flags.apply({ changed: [flag('b', { requires: ['a'] })] });
    expect([isOn(flags, 'a'), isOn(flags, 'b')]).toEqual([false, false]);
    flags.apply({ changed: [flag('b')] });
    expect([isOn(flags, 'a'), isOn(flags, 'b')]).toEqual([true, true]);
  });

  it('changes segments and the emergency', () => {
    const flags = set(flag('a', { segments: ['staff'] }));
    expect(flags.evaluate('a', { key: 'u' }).reason).toBe('SEGMENT_MISMATCH');
    flags.apply({ changedSegments: [{ name: 'staff', definition: segmentDefinition.parse({ includedKeys: ['u'] }) }] });
    expect(isOn(flags, 'a')).toBe(true);
    flags.apply({ removedSegments: ['staff'] });
    expect(isOn(flags, 'a')).toBe(false);
    flags.apply({ emergency: { killSwitch: true, rollbackToBaseline: false } });
    expect(flags.evaluate('a', { key: 'u' }).reason).toBe('EMERGENCY');
  });
});

describe('the counts', () => {
  it('count what was asked of flags that there are, and start anew when they are taken', () => {
    const flags = set(flag('a'), flag('b', { enabled: false }), flag('c'));
    for (const name of ['a', 'a', 'b', 'nobody', '__proto__']) flags.isEnabled(name, {});
    flags.evaluate('c', {});
    expect(flags.takeCounts()).toEqual([{ flag: 'a', enabled: 2, disabled: 0 }, { flag: 'b', enabled: 0, disabled: 1 }]);
    expect(flags.takeCounts()).toEqual([]);
  });

  it('are kept of a flag that is removed before they are taken', () => {
    const flags = set(flag('a'));
    flags.isEnabled('a', {});
    flags.apply({ removed: ['a'] });
    flags.isEnabled('a', {});
    expect(flags.takeCounts()).toEqual([{ flag: 'a', enabled: 1, disabled: 0 }]);
  });
});
