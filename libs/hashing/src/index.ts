export { bucket, bucketByFlag, bucketByKey, createBucket, FINE_BUCKETS, isInRollout, rolloutLimit } from './bucket.ts';
export { createHash32, hash32 } from './md5-word.ts';
