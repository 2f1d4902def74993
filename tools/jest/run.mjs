import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Runs Jest in the current project and leaves a JSON report in reports/jest under the project's path, which the test command adds up. */
const root = fileURLToPath(new URL('../..', import.meta.url));
const jest = createRequire(import.meta.url).resolve('jest/bin/jest');
const report = join(root, 'reports', 'jest', `${relative(root, process.cwd())}.json`);
mkdirSync(dirname(report), { recursive: true });
const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
// A test that fails may leave a handle open, and must not keep the whole run waiting.
const options = ['--forceExit', '--json', `--outputFile=${report}`, '--testLocationInResults=false', ...process.argv.slice(2)];
const result = spawnSync(process.execPath, [...flags, jest, ...options], { stdio: ['inherit', 'ignore', 'inherit'] });
process.exit(result.status ?? 1);
