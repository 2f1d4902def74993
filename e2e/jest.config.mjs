import { jestConfig } from '../tools/jest/preset.mjs';

export default jestConfig('e2e', { testMatch: ['<rootDir>/**/*.spec.ts'], testTimeout: 60_000 });
