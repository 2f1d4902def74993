import { setTimeout as delay } from 'node:timers/promises';
import { Child, ChildEnded } from './child.ts';
import { LaunchError } from './options.ts';
import { untilStuck } from './liveness.ts';
import { RestartBudget } from './restart-budget.ts';
import type { ServiceSpec } from './services.ts';
import type { StateDirectory } from './state-directory.ts';

export interface SupervisorOptions {
  readonly services: readonly ServiceSpec[];
  readonly state: StateDirectory;
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Tells the person one line. */
  readonly say: (line: string) => void;
}

/** Starts the processes of the system, starts again what dies, and stops them in order. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #children = new Map<string, Child>();
  readonly #budgets = new Map<string, RestartBudget>();
  readonly #restarts = new Map<string, number>();
  #reportGivenUp: (reason: string) => void = () => {};
  /** Resolves with the reason when a service ended too often to go on. */
  readonly givenUp = new Promise<string>((resolve) => (this.#reportGivenUp = resolve));
  #stopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /**
   * Starts Redis, then everything else at one time, and resolves when all are ready.
   * @throws LaunchError naming the service that could not start, its log and the log's last lines
   */
  async start(): Promise<void> {
    const { services } = this.#options;
    const redis = services.filter(({ ready }) => ready.kind === 'redis');
    const others = services.filter(({ ready, stopStage }) => ready.kind !== 'redis' && stopStage > 1);
    const workers = services.filter(({ ready, stopStage }) => ready.kind !== 'redis' && stopStage === 1);
    await Promise.all([
      Promise.all(workers.map((spec) => this.#startFirst(spec))),
      Promise.all(redis.map((spec) => this.#startFirst(spec))).then(() => Promise.all(others.map((spec) => this.#startFirst(spec)))),
    ]);
  }

  /** Sends SIGHUP to every service that has a configuration. */
  reload(): void {
    for (const child of this.#children.values()) if (child.spec.reloads) child.signal('SIGHUP');
  }

  /** The gateway drains first, Redis ends last. Does not reject. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const stages = [...new Set(this.#options.services.map(({ stopStage }) => stopStage))].sort((a, b) => b - a);
    for (const stage of stages) {
      const children = [...this.#children.values()].filter((child) => child.running && child.spec.stopStage === stage);
      await Promise.all(children.map((child) => child.stop()));
    }
  }

  /** Ends everything now. */
  kill(): void {
    this.#stopping = true;
    for (const child of this.#children.values()) child.kill();
  }

  async #startFirst(spec: ServiceSpec): Promise<void> {
    if (this.#stopping) return;
    const began = performance.now();
    const child = this.#spawn(spec);
    try {
      await child.ready();
    } catch (error) {
      if (this.#stopping) return;
      throw new LaunchError(`${(error as Error).message} Log: ${child.log}\n${child.lastLines(5)}`);
    }
    this.#options.say(`✓ ${spec.name} ${((performance.now() - began) / 1000).toFixed(1)} s`);
    void this.#watch(child);
    void this.#endWhenStuck(child);
  }

  #spawn(spec: ServiceSpec): Child {
    const { state, directory, environment } = this.#options;
    // Shown in the statistics of a worker.
    const restarts = { MLX_SERVING_WORKER_RESTARTS: String(this.#restarts.get(spec.name) ?? 0) };
    const child = new Child(spec, { log: state.logFile(spec.name), directory, environment: { ...environment, ...restarts } });
    this.#children.set(spec.name, child);
    state.record(
      [...this.#children.values()].flatMap(({ spec: { name, command }, pid, log }) =>
        pid === undefined ? [] : [{ name, pid, command: identity(command), log }],
      ),
    );
    return child;
  }

  async #watch(child: Child): Promise<void> {
    const how = await child.ended;
    if (this.#stopping || child.stopping) return;
    await this.#restart(child, how);
  }

  /** A process that hangs does not end by itself; once it is killed it is started again like any other that ended. */
  async #endWhenStuck(child: Child): Promise<void> {
    const { stuckAfterMs, ready, name } = child.spec;
    if (stuckAfterMs === undefined) return;
    const ended = new AbortController();
    void child.ended.then(() => ended.abort());
    if (!(await untilStuck(ready.port, stuckAfterMs, ended.signal)) || this.#stopping || child.stopping) return;
    this.#options.say(`✗ ${name} has shown no sign of life for ${stuckAfterMs / 1000} s and is killed. Log: ${child.log}`);
    child.signal('SIGKILL');
  }

  async #restart({ spec, log }: Child, how: string): Promise<void> {
    const { say } = this.#options;
    const budget = this.#budgets.get(spec.name) ?? new RestartBudget();
    this.#budgets.set(spec.name, budget);
    const wait = budget.next(Date.now());
    if (wait === null) {
      this.#reportGivenUp(`${spec.name} ended ${budget.limit + 1} times within a minute (${how}), so everything is stopped. Log: ${log}`);
      return;
    }
    say(`✗ ${spec.name} ended (${how}). Log: ${log}. Starting it again in ${wait} ms (${budget.used} of ${budget.limit} within a minute).`);
    await delay(wait);
    if (this.#stopping) return;
    this.#restarts.set(spec.name, (this.#restarts.get(spec.name) ?? 0) + 1);
    const child = this.#spawn(spec);
    child.ready().then(
      () => {
        say(`✓ ${spec.name} is back`);
        void this.#endWhenStuck(child);
      },
      (error: unknown) => {
        if (!(error instanceof ChildEnded)) say(`✗ ${(error as Error).message} Log: ${log}`);
      },
    );
    void this.#watch(child);
  }
}

/** What tells a process from all others in the process table. Redis writes its own title there. */
function identity(command: readonly string[]): string {
  const port = command[command.indexOf('--port') + 1];
  if (command.includes('--appendonly')) return `:${port}`;
  return command.slice(1).join(' ');
}
