import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Runs Jest in the current project and leaves a JSON report in reports/jest under the project's path, which the test command adds up.
 * Jest waits for ever when a test has left a server or a timer open; here it has a while after its report, and then the run has failed.
 */
const GRACE_AFTER_REPORT_MS = 20_000;
const root = fileURLToPath(new URL('../..', import.meta.url));
const jest = createRequire(import.meta.url).resolve('jest/bin/jest');
const project = relative(root, process.cwd());
const report = join(root, 'reports', 'jest', `${project}.json`);
mkdirSync(dirname(report), { recursive: true });
rmSync(report, { force: true });
const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
const options = ['--json', `--outputFile=${report}`, '--testLocationInResults=false', ...process.argv.slice(2)];
const child = spawn(process.execPath, [...flags, jest, ...options], { stdio: ['inherit', 'ignore', 'inherit'] });

const watch = setInterval(() => {
  const written = statSync(report, { throwIfNoEntry: false })?.mtimeMs;
  if (written === undefined || Date.now() - written < GRACE_AFTER_REPORT_MS) return;
  process.stderr.write(`${project}: the tests are over, but something they opened keeps the process alive: close it in afterEach or afterAll.\n`);
  child.kill('SIGKILL');
}, 1_000);

child.once('exit', (code) => {
  clearInterval(watch);
  process.exit(code ?? 1);
});
