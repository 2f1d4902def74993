/** The parts of docker-compose.yml that are held against the services. */
export interface ComposeService {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly args: Readonly<Record<string, string>> };
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly read_only?: boolean;
  readonly restart?: string;
}

export interface ComposeFile {
  readonly version?: string;
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks?: Readonly<Record<string, unknown>>;
  readonly volumes?: Readonly<Record<string, unknown>>;
}

/** Keys of a service that docker-compose 1.29 and Compose v2 both read, and that are used here. */
const SERVICE_KEYS = new Set([
  ...['image', 'build', 'command', 'environment', 'healthcheck', 'ports', 'volumes', 'networks', 'depends_on', 'extra_hosts', 'stop_grace_period'],
  ...['cap_add', 'cap_drop', 'security_opt', 'read_only', 'tmpfs', 'restart', 'logging'],
]);

const FILE_KEYS = new Set(['version', 'services', 'networks', 'volumes']);

/** Services whose image writes beside its volumes. */
const WRITABLE = new Set(['grafana']);

/** What the file as a whole breaks: keys that one of the two readers does not know, hardening, ports, volumes, networks, dependencies. */
export function composeFileProblems(file: ComposeFile): string[] {
  return [
    ...(file.version === undefined ? ['version is missing: docker-compose 1.29 asks for it'] : []),
    ...Object.keys(file).filter((key) => !FILE_KEYS.has(key) && !key.startsWith('x-')).map((key) => `${key} is not read by both`),
    ...Object.entries(file.services).flatMap(([name, service]) => serviceProblems(file, name, service).map((problem) => `${name}: ${problem}`)),
    ...unusedVolumes(file).map((volume) => `the volume ${volume} is not used`),
  ];
}

function serviceProblems(file: ComposeFile, name: string, service: ComposeService): string[] {
  return [
    ...Object.keys(service).filter((key) => !SERVICE_KEYS.has(key)).map((key) => `${key} is not read by both`),
    ...hardeningProblems(name, service),
    ...(service.ports ?? []).filter((port) => !/^127\.0\.0\.1:\d+:\d+$/.test(port)).map((port) => `${port} is published to more than loopback`),
    ...(service.volumes ?? []).flatMap((volume) => volumeProblems(file, volume)),
    ...(service.networks ?? []).filter((network) => !(network in (file.networks ?? {}))).map((network) => `there is no network ${network}`),
    ...Object.entries(service.depends_on ?? {}).flatMap(([other, { condition }]) => dependencyProblems(file, other, condition)),
  ];
}

function hardeningProblems(name: string, service: ComposeService): string[] {
  return [
    ...(service.cap_drop?.includes('ALL') ? [] : ['does not drop all capabilities']),
    ...(service.security_opt?.includes('no-new-privileges:true') ? [] : ['may gain privileges']),
    ...(service.read_only === true || WRITABLE.has(name) ? [] : ['its root file system is not read-only']),
    ...(service.restart === 'unless-stopped' ? [] : ['is not restarted']),
    ...(service.image === undefined ? ['has no image name'] : []),
  ];
}

function volumeProblems(file: ComposeFile, volume: string): string[] {
  const [source = '', , mode] = volume.split(':');
  if (source.startsWith('.')) return mode === 'ro' ? [] : [`${volume} must be mounted read-only`];
  return source in (file.volumes ?? {}) ? [] : [`there is no volume ${source}`];
}

function dependencyProblems(file: ComposeFile, other: string, condition: string): string[] {
  const found = file.services[other];
  if (!found) return [`depends on ${other}, which does not exist`];
  return condition === 'service_healthy' && !found.healthcheck ? [`waits for the health of ${other}, which has no health check`] : [];
}

function unusedVolumes(file: ComposeFile): string[] {
  const used = Object.values(file.services).flatMap(({ volumes = [] }) => volumes.map((volume) => volume.split(':')[0]));
  return Object.keys(file.volumes ?? {}).filter((volume) => !used.includes(volume));
}
