import { staleFiles } from '../generate/generated-files.ts';
import { referenceFiles } from '../generate/reference-files.ts';
import { readServiceTables } from '../generate/service-tables.ts';
import { publishedMetrics } from './published-metrics.ts';

/** docs/metrics.md and docs/errors.md say what the code says, and every published metric is there under its name. */

const tables = (await readServiceTables()).flatMap(({ metrics }) => metrics);
const problems = [
  ...staleFiles(await referenceFiles()).map((path) => `${path} differs from the tables: run npm run generate:docs`),
  ...Object.entries(publishedMetrics).flatMap(([name, labels]) => {
    const found = tables.filter((metric) => metric.name === name);
    if (found.length === 0) return [`No table has ${name}.`];
    return found.filter((metric) => labels.some((label) => !(metric.labels ?? []).includes(label))).map(() => `${name} must have the labels ${labels.join(', ')}.`);
  }),
];
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
