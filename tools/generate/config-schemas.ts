import { configSchemaFiles } from './config-schema-files.ts';
import { writeFiles } from './generated-files.ts';

/** Writes config/schema from the schemas of @mlx-serving/policy. */
writeFiles(configSchemaFiles());
