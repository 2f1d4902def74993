import { jestConfig } from './jest/preset.mjs';

export default jestConfig('tools', { testMatch: ['<rootDir>/**/*.spec.{ts,mjs}'], testPathIgnorePatterns: ['/node_modules/', '/generators/[^/]+/files/'] });
