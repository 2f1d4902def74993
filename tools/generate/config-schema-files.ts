import { canaryFile, featureFlagsFile, runtimeFile } from '@mlx-serving/policy';
import { z } from 'zod';
import type { GeneratedFile } from './generated-files.ts';

const schemas = { 'feature-flags': featureFlagsFile, runtime: runtimeFile, canary: canaryFile };

/** One JSON Schema for each configuration file, so that editors complete and check it (SPEC F15). Draft 7 is what they read. */
export function configSchemaFiles(): GeneratedFile[] {
  return Object.entries(schemas).map(([name, schema]) => ({
    path: `config/schema/${name}.schema.json`,
    text: `${JSON.stringify({ title: `config/${name}.yaml`, ...z.toJSONSchema(schema, { io: 'input', target: 'draft-7' }) }, null, 2)}\n`,
  }));
}

/** The first line of a configuration file, which tells an editor where its schema is. */
export function schemaComment(name: string): string {
  return `# yaml-language-server: $schema=schema/${name}.schema.json`;
}

export const configurationNames = Object.keys(schemas);
