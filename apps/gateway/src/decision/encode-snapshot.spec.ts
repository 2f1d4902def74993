import { describe, expect, it } from '@jest/globals';
import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { FlagSnapshotSchema } from '@mlx-serving/contracts';
import { encodeSnapshot } from './encode-snapshot.ts';

const snapshotOf = (count: number) =>
  create(FlagSnapshotSchema, {
    revision: 7n,
    takenAtMs: 1_000n,
    emergency: { killSwitch: true, actor: 'ä"' },
    segments: [{ name: 'staff', definitionJson: '{}', revision: 3n }],
    flags: Array.from({ length: count }, (_, index) => ({ name: `f${index}`, definitionJson: '{"enabled":true}', revision: BigInt(index), kill: index % 2 === 0 ? { actor: 'a' } : undefined })),
  });

describe('encodeSnapshot', () => {
  it.each([0, 1, 100])('gives what the encoding of protobuf gives, for %d flags', async (count) => {
    const snapshot = snapshotOf(count);
    const text = await encodeSnapshot(snapshot);
    expect(fromJsonString(FlagSnapshotSchema, text)).toEqual(snapshot);
    expect(JSON.parse(text)).toEqual(JSON.parse(toJsonString(FlagSnapshotSchema, snapshot)));
    expect(await encodeSnapshot(snapshot)).toBe(text);
  });

  it('gives an empty snapshot', async () => {
    expect(await encodeSnapshot(create(FlagSnapshotSchema))).toBe('{}');
  });
});
