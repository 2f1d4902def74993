import { describe, expect, it } from '@jest/globals';
import { SseReader } from './sse-reader.ts';

const MEBI = 1024 * 1024;

function reader(): { reader: SseReader; events: string[] } {
  const events: string[] = [];
  return { reader: new SseReader((data) => events.push(data)), events };
}

describe('SseReader', () => {
  it('joins the lines of an event wherever the text was cut, and passes over comments and other fields', () => {
    const { reader: sse, events } = reader();
    for (const part of [': hello\n\nda', 'ta: one\r', '\ndata:two\nid: 7\n\n\nevent: x\ndata: three', '\n\n']) sse.push(part);
    expect(events).toEqual(['one\ntwo', 'three']);
  });

  it('refuses an event without an end, be it one line or many', () => {
    expect(() => reader().reader.push(`data: ${'x'.repeat(5 * MEBI)}`)).toThrow(RangeError);
    for (const line of [`data: ${'x'.repeat(1_000)}\n`, 'data:\n']) {
      const { reader: sse, events } = reader();
      const part = line.repeat(Math.ceil(MEBI / line.length));
      expect(() => {
        for (let sent = 0; sent < 5; sent++) sse.push(part);
      }).toThrow(RangeError);
      expect(events).toEqual([]);
    }
  });

  it('takes any number of events that end', () => {
    const { reader: sse, events } = reader();
    const event = `data: ${'x'.repeat(MEBI)}\n\n`;
    for (let sent = 0; sent < 10; sent++) sse.push(event);
    expect(events).toHaveLength(10);
  });
});
