import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { LaunchError } from './options.ts';

/**
 * Makes sure that every port is free, before anything is started.
 * @throws LaunchError that names the first port in use, and by whom where that can be told
 */
export async function assertPortsFree(ports: readonly number[], suggestedOffset: number): Promise<void> {
  const free = await Promise.all(ports.map(isFree));
  const taken = ports.find((_, index) => free[index] === false);
  if (taken === undefined) return;
  const owner = listenerOf(taken);
  throw new LaunchError(`Port ${taken} is in use${owner === '' ? '' : ` (by ${owner})`}. Stop it or use --port-offset ${suggestedOffset}.`);
}

/** Whether a server could listen on this port of the loopback address. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** `name, pid N`, or an empty text when it cannot be told. */
function listenerOf(port: number): string {
  if (process.platform === 'linux') return linuxListener(port);
  const answer = spawnSync('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], { encoding: 'utf8' });
  const field = (letter: string): string | undefined => new RegExp(`^${letter}(.+)$`, 'm').exec(answer.stdout ?? '')?.[1];
  const pid = field('p');
  return pid === undefined ? '' : `${field('c') ?? 'a process'}, pid ${pid}`;
}

const LISTENING = '0A';

function linuxListener(port: number): string {
  const inode = listeningInode(port);
  const pid = inode && processIds().find((candidate) => hasSocket(candidate, inode));
  return pid ? `${readText(`/proc/${pid}/comm`).trim()}, pid ${pid}` : '';
}

function listeningInode(port: number): string | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => readText(file).split('\n').slice(1));
  return rows.map((row) => row.trim().split(/\s+/)).find((cells) => cells[1]?.endsWith(suffix) && cells[3] === LISTENING)?.[9];
}

function processIds(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
}

function hasSocket(pid: string, inode: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((descriptor) => readlinkSync(`/proc/${pid}/fd/${descriptor}`) === `socket:[${inode}]`);
  } catch {
    return false; // Another user's process, or one that has ended.
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
