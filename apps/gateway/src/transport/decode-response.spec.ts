import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { type Token, WorkerGenerateResponseSchema } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { decodeEvent } from './decode-event.ts';
import { decodeResponse } from './decode-response.ts';

// protobuf-es takes a byte order mark at a text's beginning away; the hand-written reader keeps it.
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 40 })).filter((value) => !value.startsWith('\ufeff'));
const id = fc.oneof(fc.integer({ min: 0, max: 300_000 }), fc.integer({ min: 0, max: 0xffff_ffff }));
const logprob = fc.option(fc.float({ noNaN: true }), { nil: undefined });
const token = fc.record({ id, text, logprob, topLogprobs: fc.array(fc.record({ id, text }), { maxLength: 2 }) });
const plain = fc.record({ id, text });
type Event = NonNullable<MessageInitShape<typeof WorkerGenerateResponseSchema>['event']>;
const encodeEvent = (event: Event): Buffer => Buffer.from(toBinary(WorkerGenerateResponseSchema, create(WorkerGenerateResponseSchema, { event })));
const encode = (tokens: object[]): Buffer => encodeEvent({ case: 'chunk', value: { tokens } });
// Never -0, which protobuf-es leaves out when it is a field's whole value.
const double = fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0));
const stage = fc.record({ name: text, atMs: double, promptHash: text, confidence: double }, { requiredKeys: [] });
const usage = fc.record({ promptTokens: id, completionTokens: id, cachedPromptTokens: id }, { requiredKeys: [] });
const timings = fc.record({ queueMs: double, tokenizeMs: double, prefillMs: double, totalMs: double, firstEmitMs: double }, { requiredKeys: [] });
const toolCalls = fc.array(fc.record({ id: text, name: text }), { maxLength: 1 });
const finished = fc.record({ finishReason: fc.constantFrom(0, 1, 2, 3), usage, timings, toolCalls, stages: fc.array(stage, { maxLength: 4 }) }, { requiredKeys: [] });
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ queuePosition: id, promptTokens: id, model: text }, { requiredKeys: [] }).map((value): Event => ({ case: 'accepted', value })),
  finished.map((value): Event => ({ case: 'finished', value })),
);
const withoutAbsent = (tokens: readonly object[]): object[] => tokens.map((one) => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined)));

describe('a response', () => {
  it('is read as protobuf-es reads it, whatever its tokens are', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(plain, plain, token), { maxLength: 40 }), (tokens) => {
        const bytes = encode(withoutAbsent(tokens));
        expect(decodeResponse(bytes)).toStrictEqual(fromBinary(WorkerGenerateResponseSchema, bytes));
      }),
    );
  });

  it('is read as protobuf-es reads it when it is the first or the last of its stream', () => {
    fc.assert(
      fc.property(event, (one) => {
        const bytes = encodeEvent(one);
        expect(decodeResponse(bytes)).toStrictEqual(fromBinary(WorkerGenerateResponseSchema, bytes));
      }),
    );
  });

  it('is read as protobuf-es reads it, or refused as there, whatever happened to its bytes', () => {
    const damage = fc.record({ at: fc.nat({ max: 400 }), byte: fc.nat({ max: 255 }), cut: fc.nat({ max: 12 }) });
    const whole = fc.oneof(fc.array(plain, { minLength: 1, maxLength: 5 }).map(encode), event.map(encodeEvent));
    fc.assert(
      fc.property(whole, damage, (bytes, { at, byte, cut }) => {
        bytes[at % bytes.length] = byte;
        const damaged = bytes.subarray(0, bytes.length - (cut < 6 ? 0 : cut - 6));
        expect(read(() => decodeResponse(damaged))).toStrictEqual(read(() => fromBinary(WorkerGenerateResponseSchema, damaged)));
      }),
      { numRuns: 4_000 },
    );
  });

  it('is read by hand when it is the first, or the last without tool calls', () => {
    const last = { finishReason: 1, usage: { promptTokens: 7 }, timings: { totalMs: 1.5 }, stages: [{ name: 'stage:queued', atMs: 0.5 }] };
    expect(decodeEvent(encodeEvent({ case: 'accepted', value: { promptTokens: 7, model: 'tiny' } }))).toMatchObject({ case: 'accepted', value: { promptTokens: 7, model: 'tiny' } });
    expect(decodeEvent(encodeEvent({ case: 'finished', value: last }))).toMatchObject({ case: 'finished', value: last });
    expect(decodeEvent(encodeEvent({ case: 'finished', value: { toolCalls: [{ id: 'c' }] } }))).toBeUndefined();
  });

  it('keeps a token that is a byte order mark', () => {
    const { event } = decodeResponse(encode([{ id: 1, text: '\ufeff' }]));
    expect((event.value as { tokens: Token[] }).tokens[0]?.text).toBe('\ufeff');
  });
});

function read(decode: () => unknown): unknown {
  try {
    return JSON.stringify(decode(), (_, value: unknown) => (typeof value === 'bigint' ? String(value) : typeof value === 'string' ? value.replace(/^\ufeff/, '') : value));
  } catch {
    return 'refused';
  }
}
