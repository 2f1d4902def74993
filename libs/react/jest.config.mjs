import { jestConfig } from '../../tools/jest/preset.mjs';

// Far beyond what a healthy run needs, so that a busy machine fails no test.
export default jestConfig('react', { testTimeout: 30_000 });
