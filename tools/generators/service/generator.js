import { fileURLToPath } from 'node:url';
import devkit from '@nx/devkit';

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const OPERATIONS_PORT = /_OPERATIONS_PORT', default: '(\d+)'/;
/** The first operations port of the services is 9101. The worker has 9111 and the canary's worker 9112. */
const FIRST_PORT = 9101;
const WORKER_PORTS = [9111, 9112];

/** Writes apps/<name>: a service that starts, reloads, stops, and shows its metrics and health. */
export async function serviceGenerator(tree, { name, description = `The ${name} service`, operationsPort = nextPort(tree) }) {
  if (!NAME.test(name)) throw new Error(`A service's name is of small letters, digits and single hyphens, not ${name}.`);
  const folder = `apps/${name}`;
  if (tree.exists(folder)) throw new Error(`There is ${folder} already.`);
  const { className, constantName } = devkit.names(name);
  devkit.generateFiles(tree, fileURLToPath(new URL('files', import.meta.url)), folder, { name, className, constantName, description, operationsPort });
  return () => devkit.installPackagesTask(tree, true);
}

function nextPort(tree) {
  const apps = tree.exists('apps') ? tree.children('apps') : [];
  const texts = apps.map((app) => tree.read(`apps/${app}/src/config.ts`, 'utf8') ?? '');
  const taken = new Set([...WORKER_PORTS, ...texts.map((text) => Number(OPERATIONS_PORT.exec(text)?.[1]))]);
  let port = FIRST_PORT;
  while (taken.has(port)) port++;
  return port;
}
