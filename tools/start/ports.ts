/** Where everything listens when the offset is 0 (docs/architecture.md). */
const PORTS = {
  gatewayHttp: 3000,
  admin: 3001,
  gatewayGrpc: 50051,
  flags: 50052,
  qos: 50053,
  canary: 50054,
  worker: 50061,
  canaryWorker: 50062,
  gatewayOperations: 9101,
  flagsOperations: 9102,
  qosOperations: 9103,
  canaryOperations: 9104,
  adminOperations: 9105,
  workerOperations: 9111,
  canaryWorkerOperations: 9112,
  redis: 16379,
} as const;

export type PortName = keyof typeof PORTS;
export type Ports = Readonly<Record<PortName, number>>;

export function portsFor(offset: number): Ports {
  return Object.fromEntries(Object.entries(PORTS).map(([name, port]) => [name, port + offset])) as Record<PortName, number>;
}

/** The ports that a start takes: not the canary worker's without one, not Redis's when another one is used. */
export function portsInUse(ports: Ports, parts: { canary: boolean; redis: boolean }): number[] {
  const unused: PortName[] = [...(parts.canary ? [] : (['canaryWorker', 'canaryWorkerOperations'] as const)), ...(parts.redis ? [] : (['redis'] as const))];
  return Object.entries(ports)
    .filter(([name]) => !unused.includes(name as PortName))
    .map(([, port]) => port);
}
