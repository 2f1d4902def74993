import { spawnSync } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';

/** Where figures were measured: without this they say nothing. */
export interface Machine {
  readonly cpus: string;
  readonly memory: string;
  /** Of the last minute, when the suite began. */
  readonly load: number;
  readonly node: string;
  readonly python: string;
}

export function describeMachine(python: string): Machine {
  return {
    cpus: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    node: process.version,
    python: spawnSync(python, ['--version'], { encoding: 'utf8' }).stdout.trim().replace('Python ', ''),
  };
}
