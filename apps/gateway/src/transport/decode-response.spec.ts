import { create, toBinary } from '@bufbuild/protobuf';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { type Token, WorkerGenerateResponseSchema } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { decodeResponse } from './decode-response.ts';

// protobuf-es takes a byte order mark at a text's beginning away; the hand-written reader keeps it.
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 40 })).filter((value) => !value.startsWith('\ufeff'));
const id = fc.oneof(fc.integer({ min: 0, max: 300_000 }), fc.integer({ min: 0, max: 0xffff_ffff }));
const logprob = fc.option(fc.float({ noNaN: true }), { nil: undefined });
const token = fc.record({ id, text, logprob, topLogprobs: fc.array(fc.record({ id, text }), { maxLength: 2 }) });
const plain = fc.record({ id, text });
const encode = (tokens: object[]): Buffer => Buffer.from(toBinary(WorkerGenerateResponseSchema, create(WorkerGenerateResponseSchema, { event: { case: 'chunk', value: { tokens } } })));
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

  it('is read as protobuf-es reads it, or refused as there, whatever happened to its bytes', () => {
    const damage = fc.record({ at: fc.nat({ max: 400 }), byte: fc.nat({ max: 255 }), cut: fc.nat({ max: 12 }) });
    fc.assert(
      fc.property(fc.array(plain, { minLength: 1, maxLength: 5 }), damage, (tokens, { at, byte, cut }) => {
        const bytes = encode(tokens);
        bytes[at % bytes.length] = byte;
        const damaged = bytes.subarray(0, bytes.length - (cut < 6 ? 0 : cut - 6));
        expect(read(() => decodeResponse(damaged))).toStrictEqual(read(() => fromBinary(WorkerGenerateResponseSchema, damaged)));
      }),
      { numRuns: 2_000 },
    );
  });

  it('has its other events too', () => {
    const accepted = create(WorkerGenerateResponseSchema, { event: { case: 'accepted', value: { promptTokens: 3, model: 'tiny' } } });
    expect(decodeResponse(Buffer.from(toBinary(WorkerGenerateResponseSchema, accepted)))).toStrictEqual(accepted);
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
