import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { Priority, WorkerGenerateRequestSchema } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { encodeRequest } from './encode-request.ts';

// protobuf-es takes a byte order mark at a text's beginning away when it reads.
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.string({ maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 60 })).filter((value) => !value.startsWith('\ufeff'));
const uint = fc.integer({ min: 0, max: 0xffff_ffff });
const float = fc.float({ noNaN: true }).filter((value) => !Object.is(value, -0));
const rarely = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
const call = fc.record({ id: text, name: text, argumentsJson: text });
const message = fc.record({ role: text, content: text, toolCallId: text, toolCalls: fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(call, { maxLength: 2 }) }) });
const prompt = fc.record({ case: fc.constant('prompt' as const), value: text });
const conversation = fc.record({ case: fc.constant('conversation' as const), value: fc.record({ messages: fc.array(message, { maxLength: 4 }), toolsJson: fc.array(text, { maxLength: 2 }) }) });
const sampling = fc.record({
  maxTokens: rarely(uint),
  temperature: rarely(float),
  topP: rarely(float),
  seed: rarely(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  stop: fc.array(text, { maxLength: 3 }),
  topK: uint,
  minP: float,
  repetitionPenalty: rarely(float),
  presencePenalty: float,
  frequencyPenalty: float,
  logitBias: fc.oneof({ weight: 9, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: fc.dictionary(uint.map(String), float, { maxKeys: 3 }) }),
  topLogprobs: rarely(uint),
  jsonSchema: text,
});
const request = fc.record({
  requestId: text,
  model: text,
  input: fc.oneof(prompt, conversation),
  sampling: rarely(sampling),
  enabledFlags: fc.array(text, { maxLength: 12 }),
  priority: fc.constantFrom(Priority.UNSPECIFIED, Priority.NORMAL, Priority.BACKGROUND),
  tenant: text,
  resumeTokenIds: fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(uint, { maxLength: 5 }) }),
});

const written = (init: MessageInitShape<typeof WorkerGenerateRequestSchema>): { here: unknown; there: unknown } => {
  const whole = create(WorkerGenerateRequestSchema, init);
  const read = (bytes: Uint8Array) => fromBinary(WorkerGenerateRequestSchema, bytes);
  return { here: read(encodeRequest(whole)), there: read(toBinary(WorkerGenerateRequestSchema, whole)) };
};

describe('a request', () => {
  it('reads as the one that protobuf-es would have written, whatever is in it', () => {
    fc.assert(
      fc.property(request, (init) => {
        const { here, there } = written(init as MessageInitShape<typeof WorkerGenerateRequestSchema>);
        expect(here).toStrictEqual(there);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([0, 39, 40, 41, 127, 128, 16_383, 16_384, 2_097_152])('is whole with a prompt of %d characters, of one byte or of three', (length) => {
    for (const character of ['x', '€']) {
      const { here, there } = written({ requestId: 'r', input: { case: 'conversation', value: { messages: [{ role: 'user', content: character.repeat(length) }] } } });
      expect(here).toStrictEqual(there);
    }
  });

  it('is none the worse for one before it that could not be written', () => {
    const broken = { ...create(WorkerGenerateRequestSchema, { requestId: 'broken', input: { case: 'prompt', value: 'x' } }), model: undefined as never };
    expect(() => encodeRequest(broken)).toThrow(TypeError);
    const { here, there } = written({ requestId: 'r', model: 'm', input: { case: 'prompt', value: 'y' } });
    expect(here).toStrictEqual(there);
  });
});
