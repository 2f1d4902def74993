import { describe, expect, it, jest } from '@jest/globals';
import { z } from 'zod';
import type { Logger } from '@mlx-serving/service-kit';
import { RecordReader } from './record-reader.ts';

const named = z.object({ name: z.string() });

describe('the records beside the flags', () => {
  it('are read without those that cannot be read, each of which is logged once for each of its texts', () => {
    const error = jest.fn();
    const tokens = new Map([['a', '{"name":"olga"}'], ['b', 'spoilt'], ['c', '{"name":7}']]);
    const reader = new RecordReader({ records: { tokens } as never }, { error } as never as Logger);
    for (let reads = 0; reads < 2; reads++) expect(reader.all('tokens', named)).toEqual([['a', { name: 'olga' }, '{"name":"olga"}']]);
    expect([reader.one('tokens', 'c', named), reader.one('tokens', 'nobody', named)]).toEqual([undefined, undefined]);
    expect(error.mock.calls.map(([what]) => (what as { id: string }).id)).toEqual(['b', 'c']);
    tokens.set('b', 'spoilt anew');
    reader.all('tokens', named);
    expect(error).toHaveBeenCalledTimes(3);
    expect(JSON.stringify(error.mock.calls)).not.toContain('spoilt');
  });
});
