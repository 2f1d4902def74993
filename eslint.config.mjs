import js from '@eslint/js';
import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

/** Direction: pure ← contract ← platform ← client ← app; an app never imports an app (docs/architecture.md). */
const layers = [
  { sourceTag: 'layer:pure', onlyDependOnLibsWithTags: ['layer:pure'], allowedExternalImports: ['zod', 'tdigest', 're2js', 'node:crypto', '@jest/globals', 'fast-check'] },
  { sourceTag: 'layer:contract', onlyDependOnLibsWithTags: ['layer:contract'], allowedExternalImports: ['@bufbuild/*', '@grpc/grpc-js', 'node:*', '@jest/globals'] },
  { sourceTag: 'layer:platform', onlyDependOnLibsWithTags: ['layer:pure', 'layer:contract', 'layer:platform'] },
  { sourceTag: 'layer:client', onlyDependOnLibsWithTags: ['layer:pure', 'layer:contract', 'layer:platform', 'layer:client'] },
  { sourceTag: 'layer:app', onlyDependOnLibsWithTags: ['layer:pure', 'layer:contract', 'layer:platform', 'layer:client'] },
  { sourceTag: 'layer:test', onlyDependOnLibsWithTags: ['layer:pure', 'layer:contract', 'layer:platform', 'layer:client', 'layer:test'] },
];

const specs = ['**/*.spec.ts', '**/*.contract.ts', '**/test/**/*.ts', 'libs/testing/**/*.ts', 'e2e/**/*.ts'];

export default tseslint.config(
  { ignores: ['**/dist', '**/node_modules', '**/gen', '.nx', 'reports', 'python-worker', 'tools/generators/**/files', '.mlx-serving*'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    plugins: { '@nx': nx },
    rules: {
      '@nx/enforce-module-boundaries': ['error', { depConstraints: layers, allow: [], enforceBuildableLibDependency: false }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false }],
      '@typescript-eslint/explicit-module-boundary-types': 'off',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      complexity: ['error', 12],
      'max-lines': ['error', { max: 300, skipBlankLines: false, skipComments: false }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Use named exports.' },
        { selector: 'ExportAllDeclaration', message: 'Name every export.' },
      ],
      'no-restricted-properties': ['error', { object: 'process', property: 'env', message: 'Read the environment in config.ts through readEnvironment().' }],
    },
  },
  {
    files: ['**/*.{mjs,js}'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly', setTimeout: 'readonly', clearTimeout: 'readonly', fetch: 'readonly', Buffer: 'readonly', AbortSignal: 'readonly', performance: 'readonly', setInterval: 'readonly', clearInterval: 'readonly' } },
  },
  {
    files: ['**/main.ts', 'libs/service-kit/src/run.ts', 'libs/client/src/config.ts', 'tools/**/*.ts', 'e2e/**/*.ts'],
    rules: { 'no-restricted-properties': 'off' },
  },
  { files: ['tools/**/*.ts', 'e2e/**/*.ts'], rules: { 'no-console': 'off' } },
  // A list of names, as long as the contracts are.
  { files: ['libs/contracts/src/index.ts'], rules: { 'max-lines': 'off' } },
  {
    // Tests may use what only tests may use, and their describe blocks are long by nature.
    files: specs,
    rules: {
      '@nx/enforce-module-boundaries': 'off',
      'max-lines-per-function': 'off',
      'no-restricted-properties': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
);
