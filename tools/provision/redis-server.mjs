import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { virtualEnvironment } from './checkout.mjs';
import { SetupError } from './progress.mjs';

/**
 * The redis-server to start: the machine's own, else the one that came with the Python packages.
 * @returns {string} its path; empty when REDIS_URL names a Redis that runs already
 * @throws SetupError with the one command that installs it
 */
export function findRedisServer(environment = process.env) {
  if (environment.REDIS_URL) return '';
  const folders = [...(environment.PATH ?? '').split(delimiter), join(virtualEnvironment, 'bin')];
  const found = folders.map((folder) => join(folder, 'redis-server')).find(isExecutable);
  if (found !== undefined) return found;
  const command = process.platform === 'darwin' ? 'brew install redis' : 'sudo apt install redis-server';
  throw new SetupError(`There is no redis-server. Install it (${command}), or name one that runs: REDIS_URL=redis://host:6379`);
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
