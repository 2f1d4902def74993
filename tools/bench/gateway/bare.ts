import { join } from 'node:path';
import { freePort, root, type Running, startProcess } from './processes.ts';
import type { Target } from './rig.ts';

/** How the forwarder reaches the worker. */
export type BareTransport = 'grpc-js' | 'http2';

/** A forwarder of node:http that has nothing of a gateway: what of ours is Node's own cost. */
export interface Bare extends Running {
  readonly name: `bare ${BareTransport}`;
  readonly target: Omit<Target, 'body'>;
}

/** @param worker `host:port` of the fake upstream @throws Error when it does not answer */
export async function startBare(transport: BareTransport, worker: string): Promise<Bare> {
  const port = await freePort();
  const name = `bare ${transport}` as const;
  const command = ['node', '--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', join(root, 'tools', 'bench', 'gateway', 'bare-forwarder.ts'), transport, String(port), worker];
  const running = await startProcess(name.replace(' ', '-'), command, `http://127.0.0.1:${port}/`);
  return { ...running, name, target: { address: `127.0.0.1:${port}`, path: '/v1/chat/completions' } };
}
