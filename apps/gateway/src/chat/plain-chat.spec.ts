import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { chatParameters } from './chat-parameters.ts';
import { plainChat } from './plain-chat.ts';

const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(0, -0, 1, 2, 0.5, 1_000_000, 1_000_001, Number.MAX_SAFE_INTEGER, 2 ** 53, Number.POSITIVE_INFINITY));
const value = fc.oneof(number, fc.string(), fc.boolean(), fc.constant(null), fc.string({ minLength: 250, maxLength: 520 }), fc.array(fc.string(), { maxLength: 2 }), fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 }));
const message = fc.record(
  { role: fc.constantFrom('system', 'developer', 'user', 'assistant', 'tool', 'function', 7), content: fc.oneof(fc.string(), value), name: fc.string(), __proto__: fc.constant({}) },
  { requiredKeys: ['role'] },
);
const names = ['stream', 'user', 'temperature', 'top_p', 'max_tokens', 'max_completion_tokens', 'seed', 'n', 'stop', 'tools', 'metadata', 'toString', '__proto__'];
const body = fc
  .tuple(fc.record({ model: fc.oneof(fc.constant('tiny'), value), messages: fc.oneof(fc.array(message, { maxLength: 3 }), value) }, { requiredKeys: [] }), fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 }))
  // As it comes: parsed.
  .map((parts) => JSON.parse(JSON.stringify(Object.assign({}, ...parts))) as Record<string, unknown>);

describe('a plain request', () => {
  it('is what its schema makes of it, however odd it is', () => {
    fc.assert(
      fc.property(body, (request) => {
        const plain = plainChat(request);
        if (plain !== undefined) expect(chatParameters.parse(request)).toEqual(plain);
      }),
      { numRuns: 2_000 },
    );
  });

  it('has the commonest parameters', () => {
    const request = { model: 'tiny', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hello' }, { role: 'assistant', content: '' }], stream: true, user: 'ada', temperature: 2, top_p: 0, max_tokens: 1, seed: -1 };
    expect(plainChat(request)).toBe(request);
  });

  it.each<[request: Record<string, unknown>]>([
    [{}],
    [{ model: 'tiny' }],
    [{ messages: [{ role: 'user', content: 'Hello' }] }],
    [{ model: 'tiny', messages: [] }],
    [{ model: 'tiny', messages: [{ role: 'user', content: 'Hello', name: 'ada' }] }],
    [{ model: 'tiny', messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }] }],
    [{ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], temperature: 2.1 }],
    [{ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 1.5 }],
    [{ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], constructor: 1 }],
  ])('is not %j', (request) => {
    expect(plainChat(request)).toBeUndefined();
  });
});
