export { bucket, bucketByFlag, bucketByKey, FINE_BUCKETS, isInRollout } from './bucket.ts';
export { hash32 } from './md5-word.ts';
