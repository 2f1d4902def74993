import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LaunchError } from './options.ts';
import { commandLine, isAlive } from './processes.ts';

/** One process that was started, so that the next start can end it if this one cannot. */
export interface ChildRecord {
  readonly name: string;
  readonly pid: number;
  /** Its arguments as they appear in the process table. */
  readonly command: string;
  readonly log: string;
}

/** The folder that holds what outlives a run: the admin token, Redis's data, snapshots, logs, and who is running. */
export class StateDirectory {
  readonly path: string;
  readonly tokenFile: string;
  readonly pidFile: string;
  readonly childrenFile: string;

  constructor(path: string) {
    this.path = path;
    this.tokenFile = join(path, 'admin-token');
    this.pidFile = join(path, 'mlx-serving.pid');
    this.childrenFile = join(path, 'children.json');
  }

  logFile(name: string): string {
    return join(this.path, 'logs', `${name}.log`);
  }

  /**
   * Takes the folder for this process. A pid file of a launcher that is gone is replaced.
   * @throws LaunchError when another launcher runs on it
   */
  claim(): void {
    for (const folder of ['redis', 'snapshots', 'logs']) mkdirSync(join(this.path, folder), { recursive: true, mode: 0o700 });
    try {
      writeFileSync(this.pidFile, `${process.pid}\n`, { flag: 'wx' });
    } catch {
      const pid = Number(readFileSync(this.pidFile, 'utf8'));
      if (isLauncher(pid)) throw new LaunchError(`Already running as pid ${pid} (${this.pidFile}). Stop it, or use another --state DIR and --port-offset.`);
      writeFileSync(this.pidFile, `${process.pid}\n`);
    }
  }

  /** What a launcher that was killed left running. */
  leftovers(): ChildRecord[] {
    if (!existsSync(this.childrenFile)) return [];
    const records = JSON.parse(readFileSync(this.childrenFile, 'utf8')) as ChildRecord[];
    return records.filter(({ pid, command }) => commandLine(pid).includes(command));
  }

  record(children: readonly ChildRecord[]): void {
    const draft = `${this.childrenFile}.draft`;
    writeFileSync(draft, `${JSON.stringify(children, null, 2)}\n`);
    renameSync(draft, this.childrenFile);
  }

  /** Keeps the logs of the run before this one under another name, and drops those before it. */
  turnLogs(): void {
    const logs = join(this.path, 'logs');
    const finished = readdirSync(logs).filter((name) => name.endsWith('.log') && !name.endsWith('.previous.log'));
    for (const name of finished) renameSync(join(logs, name), join(logs, name.replace(/\.log$/, '.previous.log')));
  }

  /** Makes the token that admin calls need, unless there is one. Only its owner may read it. */
  ensureToken(): void {
    if (!existsSync(this.tokenFile)) writeFileSync(this.tokenFile, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  }

  release(): void {
    rmSync(this.childrenFile, { force: true });
    rmSync(this.pidFile, { force: true });
  }
}

/** Whether a pid is a launcher and not what later got its number. */
function isLauncher(pid: number): boolean {
  return pid !== process.pid && isAlive(pid) && commandLine(pid).includes(join('tools', 'start', 'main.ts'));
}
