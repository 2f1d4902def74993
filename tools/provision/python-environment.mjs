import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readIfPresent, root, sha256, virtualEnvironment, virtualPython } from './checkout.mjs';
import { SetupError, step } from './progress.mjs';
import { runLogged } from './run-logged.mjs';

const CANDIDATES = ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python'];
const LEAST_MINOR = 10;
const stampFile = join(virtualEnvironment, '.mlx-serving-lock');
const lockFile = (name) => join(root, 'python-worker', name);

/**
 * Makes python-worker/.venv hold what its lock says, every file checked by its hash.
 * The lock for tests holds everything that the one for running holds, so one environment serves both.
 * @param {{ logs: string, forTests: boolean }} options
 */
export async function ensurePythonEnvironment({ logs, forTests }) {
  const wanted = stampOf(forTests);
  const present = readIfPresent(stampFile).split('\n');
  if (wanted.every((line) => present.includes(line))) return;
  if (!existsSync(virtualPython)) await createEnvironment(logs);
  const lock = lockFile(forTests ? 'requirements-dev.lock' : 'requirements.lock');
  const install = ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', '--require-hashes', '-r', lock];
  await step('Python packages', () => runLogged([virtualPython, ...install], { cwd: root, log: join(logs, 'pip.log') }));
  putWorkerOnPath();
  writeFileSync(stampFile, `${wanted.join('\n')}\n`);
}

function stampOf(forTests) {
  const running = `running ${sha256(readIfPresent(lockFile('requirements.lock')))}`;
  return forTests ? [running, `tests ${sha256(readIfPresent(lockFile('requirements-dev.lock')))}`] : [running];
}

async function createEnvironment(logs) {
  const python = findPython();
  const probe = spawnSync(python, ['-c', 'import ensurepip, venv'], { encoding: 'utf8' });
  if (probe.status !== 0) throw new SetupError(`${python} cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv`);
  rmSync(virtualEnvironment, { recursive: true, force: true });
  await step('Python environment', () => runLogged([python, '-m', 'venv', virtualEnvironment], { log: join(logs, 'venv.log') }));
}

/** PYTHON, else the first candidate on PATH that is new enough. */
export function findPython(environment = process.env) {
  const candidates = environment.PYTHON ? [environment.PYTHON] : CANDIDATES;
  const found = candidates.find((candidate) => pythonMinor(candidate) >= LEAST_MINOR);
  if (found !== undefined) return found;
  throw new SetupError(`Python 3.${LEAST_MINOR} or newer is needed (looked for ${candidates.join(', ')}). Install it, or name one: PYTHON=/path/to/python3`);
}

function pythonMinor(command) {
  const answer = spawnSync(command, ['-c', 'import sys; print(sys.version_info[0], sys.version_info[1])'], { encoding: 'utf8' });
  const [major, minor] = (answer.stdout ?? '').trim().split(' ').map(Number);
  return answer.status === 0 && major === 3 ? minor : -1;
}

/** Lets `python -m mlx_worker` run from this checkout. */
function putWorkerOnPath() {
  const answer = spawnSync(virtualPython, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], { encoding: 'utf8' });
  writeFileSync(join(answer.stdout.trim(), 'mlx_serving_worker.pth'), `${join(root, 'python-worker', 'src')}\n`);
}
