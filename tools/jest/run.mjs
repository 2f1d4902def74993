import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Runs Jest in the current project and leaves a JSON report in reports/jest, which the test command adds up. */
const reports = fileURLToPath(new URL('../../reports/jest', import.meta.url));
mkdirSync(reports, { recursive: true });
const jest = createRequire(import.meta.url).resolve('jest/bin/jest.js');
const report = join(reports, `${basename(process.cwd())}.json`);
const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
const options = ['--json', `--outputFile=${report}`, '--testLocationInResults=false', ...process.argv.slice(2)];
const result = spawnSync(process.execPath, [...flags, jest, ...options], { stdio: ['inherit', 'ignore', 'inherit'] });
process.exit(result.status ?? 1);
