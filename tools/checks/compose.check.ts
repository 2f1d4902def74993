import { existsSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { portsFor } from '../start/ports.ts';
import { readServiceTables } from '../generate/service-tables.ts';
import { type ComposeFile, composeFileProblems } from './compose-file.ts';
import { composeServiceProblems, scrapeProblems } from './compose-services.ts';

/** docker-compose.yml says what the services are: commands, ports, variables, probes, and what Prometheus scrapes. */

const root = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

interface Scrapes {
  readonly scrape_configs: readonly { readonly static_configs: readonly { readonly targets: readonly string[] }[] }[];
}

const file = parse(read('docker-compose.yml'), { merge: true }) as ComposeFile;
const targets = (parse(read('config/prometheus/prometheus.yml')) as Scrapes).scrape_configs.flatMap((job) => job.static_configs.flatMap((one) => one.targets));
/** An app without a server, such as the command line, runs in no container. */
const isService = (name: string): boolean => existsSync(new URL(`apps/${name}/src/server.ts`, root));
const tables = new Map((await readServiceTables()).filter(({ name }) => isService(name)).map(({ name, environment }) => [name, environment]));
const ports = portsFor(0);
const worker = { grpc: [ports.worker, ports.canaryWorker], metrics: [ports.workerOperations, ports.canaryWorkerOperations] };

/** Files that the compose file names, and the program of each app as its package says. */
function missingFiles(): string[] {
  const mounted = Object.values(file.services).flatMap(({ volumes = [], build }) => [...volumes.map((volume) => volume.split(':')[0] ?? ''), build?.dockerfile ?? '.']);
  const missing = mounted.filter((path) => (path.startsWith('.') || path.includes('/')) && !existsSync(new URL(path, root)));
  const programs = [...tables.keys()].filter((app) => {
    const { bin = {} } = JSON.parse(read(`apps/${app}/package.json`)) as { bin?: Record<string, string> };
    return !Object.values(bin).includes('./dist/main.js') || !existsSync(new URL(`apps/${app}/src/main.ts`, root));
  });
  return [...missing.map((path) => `${path} does not exist`), ...programs.map((app) => `apps/${app} has no dist/main.js, which its image runs`)];
}

const problems = [...composeFileProblems(file), ...composeServiceProblems(file, tables, worker), ...scrapeProblems(targets, file, tables, worker), ...missingFiles()];
for (const problem of problems) console.error(`docker-compose.yml: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
