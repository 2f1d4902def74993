import { fileURLToPath } from 'node:url';

/**
 * The Jest configuration of every project: ESM, TypeScript by type stripping, workspace packages from source.
 * @param {string} name project name, used for the report file
 * @param {import('jest').Config} [overrides]
 * @returns {import('jest').Config}
 */
export function jestConfig(name, overrides = {}) {
  return {
    displayName: name,
    testMatch: ['<rootDir>/src/**/*.spec.ts', '<rootDir>/test/**/*.spec.ts'],
    testEnvironment: 'node',
    // Only what hangs should end by this, also where many tests share a busy machine.
    testTimeout: 30_000,
    testEnvironmentOptions: { customExportConditions: ['@mlx-serving/source', 'node'] },
    extensionsToTreatAsEsm: ['.ts'],
    transform: { '\\.ts$': fileURLToPath(new URL('./strip-types-transformer.mjs', import.meta.url)) },
    ...overrides,
  };
}
