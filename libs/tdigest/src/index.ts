export { Digest, type KeptDigest, MAX_SAMPLE } from './digest.ts';
export { FineDigest } from './fine-digest.ts';
export { RollingDigest, type RollingDigestOptions } from './rolling-digest.ts';
export { RollingSums } from './rolling-sums.ts';
export { type WindowOptions } from './slot-ring.ts';
