import { describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { type Token, TokenSchema } from '@mlx-serving/contracts';
import { OutputShape } from './output-shape.ts';

const tokens = (...ids: number[]): Token[] => ids.map((id) => create(TokenSchema, { id, text: 'x' }));
const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, index) => from + index);

function shapeOf(ids: readonly number[]): OutputShape {
  const shape = new OutputShape();
  ids.forEach((id, index) => shape.add(tokens(id), index * 10));
  return shape;
}

describe('the shape of an output', () => {
  it.each([
    ['one token', Array.from({ length: 30 }, () => 7)],
    ['a turn of three', range(30).map((index) => index % 3)],
    ['a turn of sixteen behind other text', [...range(200, 100), ...range(64).map((index) => index % 16)]],
  ])('knows a loop of %s', (_, ids) => expect(shapeOf(ids).repeats).toBe(true));

  it.each([
    ['a short answer', range(10).map(() => 7)],
    ['text without a loop', range(200)],
    ['a loop that the answer left', [...range(60).map(() => 7), 1, 2, 3]],
    ['a turn that is said three times', [...range(100), ...range(45).map((index) => 500 + (index % 15))]],
  ])('does not take %s for a loop', (_, ids) => expect(shapeOf(ids).repeats).toBe(false));

  it('knows the P95 of the gaps to a tenth, each token of an arrival taking its part', () => {
    const shape = new OutputShape();
    let now = 0;
    shape.add(tokens(1), now);
    expect(shape.gapP95Ms).toBeUndefined();
    for (let index = 0; index < 100; index++) shape.add(tokens(1), (now += index % 10 === 0 ? 200 : 20));
    expect(shape.gapP95Ms).toBeGreaterThan(180);
    expect(shape.gapP95Ms).toBeLessThan(220);
    for (let index = 0; index < 100; index++) shape.add(tokens(...range(20)), (now += 400));
    expect(shape.gapP95Ms).toBeGreaterThan(18);
    expect(shape.gapP95Ms).toBeLessThan(22);
  });

  it('has text when one of its tokens has: the token that ends an answer has none', () => {
    const [empty, spoken] = [new OutputShape(), new OutputShape()];
    const end = create(TokenSchema, { id: 0 });
    empty.add([end], 0);
    spoken.add([...tokens(1), end], 0);
    expect([new OutputShape().hasText, empty.hasText, spoken.hasText]).toEqual([false, false, true]);
  });

  it('takes every time for a gap, also none and very long ones', () => {
    const shape = new OutputShape();
    for (const at of [0, 0, 10_000_000]) shape.add(tokens(1), at);
    expect(shape.gapP95Ms).toBeGreaterThan(60_000);
  });

  it('has one fingerprint for the same tokens, however they came, and another for others', () => {
    const whole = new OutputShape();
    whole.add(tokens(1, 2, 3), 0);
    expect(shapeOf([1, 2, 3]).fingerprint).toBe(whole.fingerprint);
    expect(shapeOf([1, 3, 2]).fingerprint).not.toBe(whole.fingerprint);
  });
});
