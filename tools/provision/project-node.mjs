import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './checkout.mjs';
import { SetupError } from './progress.mjs';

/** Node from which TypeScript runs as it is, with all that the services need. */
const LEAST = [22, 22];

/**
 * The Node that runs the project: this one when it is new enough, else the one that came with the packages.
 * @returns {string} its path
 * @throws SetupError when there is neither
 */
export function projectNode() {
  if (isEnough(process.version)) return process.execPath;
  const packaged = join(root, 'node_modules', '.bin', 'node');
  const answer = spawnSync(packaged, ['--version'], { encoding: 'utf8' });
  if (answer.status === 0 && isEnough(answer.stdout.trim())) return packaged;
  throw new SetupError(
    `Node ${LEAST.join('.')} or newer is needed and this is ${process.version}; the packaged one is not there for ${process.platform}-${process.arch}. Install Node ${LEAST[0]} from https://nodejs.org.`,
  );
}

/** @param {string} version such as v22.23.2 */
export function isEnough(version) {
  const [major, minor] = version.slice(1).split('.').map(Number);
  return major > LEAST[0] || (major === LEAST[0] && minor >= LEAST[1]);
}
