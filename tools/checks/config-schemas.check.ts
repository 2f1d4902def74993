import { readFileSync } from 'node:fs';
import { configSchemaFiles, configurationNames, schemaComment } from '../generate/config-schema-files.ts';
import { staleFiles } from '../generate/generated-files.ts';

/** The published JSON Schemas are those of the code, and each configuration file names its own. */

const problems = [
  ...staleFiles(configSchemaFiles()).map((path) => `${path} differs from the code: run npm run generate:docs`),
  ...configurationNames
    .filter((name) => readFileSync(new URL(`../../config/${name}.yaml`, import.meta.url), 'utf8').split('\n', 1)[0] !== schemaComment(name))
    .map((name) => `config/${name}.yaml must begin with: ${schemaComment(name)}`),
];
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
