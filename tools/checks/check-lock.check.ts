import { readFileSync } from 'node:fs';
import { nodeLockProblems, type NodeLock, pythonLockProblems } from './check-lock.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const pythonLocks = ['python-worker/requirements.lock', 'python-worker/requirements-dev.lock'];

const problems = [
  ...nodeLockProblems(JSON.parse(read('package-lock.json')) as NodeLock).map((problem) => `package-lock.json: ${problem}`),
  ...pythonLocks.flatMap((file) => pythonLockProblems(read(file)).map((problem) => `${file}: ${problem}`)),
];
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
