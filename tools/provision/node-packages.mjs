import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readIfPresent, root, sha256 } from './checkout.mjs';
import { step } from './progress.mjs';
import { runLogged } from './run-logged.mjs';

const lockFile = join(root, 'package-lock.json');
const stampFile = join(root, 'node_modules', '.mlx-serving-lock');

/**
 * Installs what package-lock.json says, unless it is there.
 * @param {string} logs folder for the log
 */
export async function ensureNodePackages(logs) {
  const lock = readIfPresent(lockFile);
  const stamp = sha256(lock);
  if (readIfPresent(stampFile) === stamp) return;
  if (!isInstalled(JSON.parse(lock), readIfPresent(join(root, 'node_modules', '.package-lock.json')))) {
    await step('Node packages', () => runLogged([...npm(), 'ci', '--no-audit', '--no-fund'], { cwd: root, log: join(logs, 'npm-ci.log') }));
  }
  writeFileSync(stampFile, stamp);
}

/**
 * Whether npm's own record of node_modules agrees with the lock, as after an `npm install` by hand.
 * Packages for other machines may be missing.
 */
export function isInstalled(lock, recordText) {
  if (recordText === '') return false;
  const record = JSON.parse(recordText).packages ?? {};
  const same = ([path, entry]) => {
    const installed = record[path];
    if (installed === undefined) return entry.optional === true;
    return installed.version === entry.version && installed.integrity === entry.integrity;
  };
  return Object.entries(lock.packages)
    .filter(([path]) => path.includes('node_modules/'))
    .every(same);
}

/** The npm that runs this, or the one on PATH. */
function npm() {
  const cli = process.env.npm_execpath;
  return cli && /npm-cli\.[cm]?js$/.test(cli) && existsSync(cli) ? [process.execPath, cli] : ['npm'];
}
