import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { frame, FrameReader } from './frame-reader.ts';

describe('the frame reader', () => {
  it('gives the same messages however the bytes were cut', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 12 });
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (sent, sizes) => {
        const bytes = Buffer.concat(sent.map(frame));
        const received: string[] = [];
        const reader = new FrameReader(1_000, (message) => received.push(message.toString('hex')));
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          reader.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(received).toEqual(sent.map((message) => Buffer.from(message).toString('hex')));
        expect(reader.inMessage).toBe(false);
      }),
    );
  });

  it('knows of a message that has not ended', () => {
    const reader = new FrameReader(10, () => undefined);
    reader.push(frame(Buffer.from('abc')).subarray(0, 4));
    expect(reader.inMessage).toBe(true);
  });

  it('refuses a message that is too long before it has come, and one that is compressed', () => {
    const reader = new FrameReader(10, () => undefined);
    expect(() => reader.push(frame(Buffer.alloc(11)).subarray(0, 5))).toThrow(RangeError);
    expect(() => new FrameReader(10, () => undefined).push(Buffer.from([1, 0, 0, 0, 0]))).toThrow(TypeError);
  });
});
