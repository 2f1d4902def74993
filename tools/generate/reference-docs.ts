import { writeFiles } from './generated-files.ts';
import { referenceFiles } from './reference-files.ts';

/** Writes docs/metrics.md and docs/errors.md from the tables of the services. */
writeFiles(await referenceFiles());
