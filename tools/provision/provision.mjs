import { join } from 'node:path';
import { root, virtualPython } from './checkout.mjs';
import { ensureNodePackages } from './node-packages.mjs';
import { projectNode } from './project-node.mjs';
import { ensurePythonEnvironment } from './python-environment.mjs';
import { findRedisServer } from './redis-server.mjs';

/**
 * Makes a checkout ready to run with nothing but Node 20 and Python 3.10 on the machine. Does nothing twice.
 * @param {{ logs?: string, forTests?: boolean }} options
 * @returns {Promise<{ node: string, env: NodeJS.ProcessEnv }>} the project's Node, and an environment that names the rest
 */
export async function provision({ logs = join(root, '.mlx-serving', 'logs'), forTests = false } = {}) {
  await Promise.all([ensureNodePackages(logs), ensurePythonEnvironment({ logs, forTests })]);
  const env = {
    ...process.env,
    PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH ?? ''}`,
    MLX_SERVING_PYTHON: virtualPython,
    MLX_SERVING_REDIS_SERVER: findRedisServer(),
  };
  return { node: projectNode(), env };
}

/** The command that runs a TypeScript file of this checkout, with the packages of the workspace taken from their source. */
export function runSource(node, file, args) {
  return [node, '--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', join(root, file), ...args];
}
