import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bucket, bucketByFlag, bucketByKey, createBucket, FINE_BUCKETS, isInRollout } from './bucket.ts';
import { hash32, hash32ByCrypto } from './md5-word.ts';

interface Vectors {
  cases: { key: string; seed: string; hash: number; fine: number }[];
  digest: { count: number; sha256: string };
}

const vectors = JSON.parse(readFileSync(new URL('../../testing/vectors/bucketing.json', import.meta.url), 'utf8')) as Vectors;

describe('bucketing', () => {
  it('agrees with every vector that Python made', () => {
    const mismatches = vectors.cases.filter(({ key, seed, hash, fine }) => hash32(`${key}:${seed}`) !== hash || bucketByKey(key, seed) !== fine);
    expect(vectors.cases.length).toBeGreaterThan(1000);
    expect(mismatches).toEqual([]);
  });

  it('agrees with the digest over a hundred thousand keys of Python', () => {
    const digest = createHash('sha256');
    for (let i = 0; i < vectors.digest.count; i++) {
      const key = `user-${i}${i % 3 === 0 ? 'é' : ''}${'漢'.repeat(i % 7)}${'x'.repeat(i % 90)}`;
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(bucketByKey(key, `seed-${i % 10}`));
      digest.update(bytes);
    }
    expect(digest.digest('hex')).toBe(vectors.digest.sha256);
  });

  it('hashes any text as node:crypto does', () => {
    const texts = fc.oneof(fc.string({ unit: 'binary-ascii', maxLength: 70 }), fc.string({ unit: 'binary', maxLength: 70 }));
    fc.assert(fc.property(texts, (text) => hash32(text) === hash32ByCrypto(text)), { numRuns: 5_000 });
  });

  it('hashes ASCII texts of every length around the ends of the blocks as node:crypto does', () => {
    for (let length = 0; length <= 130; length++) expect(hash32('k'.repeat(length))).toBe(hash32ByCrypto('k'.repeat(length)));
  });

  it('answers as the plain rule does for whole percentages, and never puts a key out when a percentage rises', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: FINE_BUCKETS }), (text, whole, thousandths) => {
        const fine = bucket(text);
        expect(isInRollout(fine, whole)).toBe(hash32(text) % 100 < whole);
        if (isInRollout(fine, thousandths / 1000)) expect(isInRollout(fine, Math.min(100, (thousandths + 1) / 1000))).toBe(true);
      }),
    );
  });

  it('answers the same for a prepared seed or flag, whatever is in the texts', () => {
    const texts = fc.oneof(fc.string({ unit: 'binary-ascii', maxLength: 40 }), fc.string({ unit: 'binary', maxLength: 40 }));
    fc.assert(
      fc.property(texts, texts, (key, other) => {
        expect(createBucket('', `:${other}`)(key)).toBe(bucketByKey(key, other));
        expect(createBucket(`${other}:`, '')(key)).toBe(bucketByFlag(other, key));
      }),
      { numRuns: 3_000 },
    );
    const prepared = createBucket('', ':seed');
    for (let length = 0; length <= 70; length++) expect(prepared('k'.repeat(length))).toBe(bucketByKey('k'.repeat(length), 'seed'));
  });

  it('puts the name of a flag without a seed before the key', () => {
    expect(bucketByFlag('new_design', 'user-1')).toBe(bucket('new_design:user-1'));
    expect(isInRollout(0, 0)).toBe(false);
    expect(isInRollout(FINE_BUCKETS - 1, 100)).toBe(true);
  });
});
