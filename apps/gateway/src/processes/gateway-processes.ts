import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { assertBindable, type Logger, metricsTogether, OperationsServer, type App, type Readiness, StartupError } from '@mlx-serving/service-kit';
import { type GatewayConfig, replicaIdOf } from '../config.ts';
import { ProcessQuestions } from './process-questions.ts';
import type { FromProcess, LeaseChange, SharedLease, ToProcess } from './process-messages.ts';

/** A process that ended by itself is replaced after so long, and later each time that its successor ends soon. */
const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 5_000;
/** A process that lived so long has not ended soon. */
const STEADY_MS = 30_000;
/** What a stop takes besides that of the slowest process. */
const STOP_SLACK_MS = 1_000;

interface Member {
  readonly number: number;
  readonly worker: Worker;
  readonly startedAt: number;
  /** Of workers that joined there. */
  readonly leases: SharedLease[];
  started: boolean;
}

/**
 * Several processes of one gateway on the same ports (GATEWAY_WORKERS). Each decides, admits and reports by itself, as
 * gateways on several hosts do; this one starts them, replaces what ends, and shows all of them as one.
 */
export class GatewayProcesses implements App {
  readonly #config: GatewayConfig;
  readonly #logger: Logger;
  readonly #members = new Map<number, Member>();
  readonly #questions = new ProcessQuestions();
  readonly #operations: OperationsServer;
  readonly #restarts = new Map<number, number>();
  #stopLimitMs = 0;
  #stopping = false;

  constructor(config: GatewayConfig, logger: Logger) {
    assertBindable(config.host, config.trustedNetwork);
    this.#config = config;
    this.#logger = logger;
    const registry = metricsTogether(async () => (await this.#ask()).map(({ metrics }) => metrics));
    this.#operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry, health: () => this.#readiness() });
  }

  async start(): Promise<void> {
    await this.#operations.start();
    const numbers = Array.from({ length: this.#config.processes }, (_, index) => index + 1);
    await Promise.all(numbers.map((number) => this.#begin(number)));
  }

  async reload(): Promise<void> {
    for (const { worker } of this.#members.values()) worker.process.kill('SIGHUP');
  }

  stopLimitMs(): number {
    return this.#stopLimitMs + STOP_SLACK_MS;
  }

  /** Every process lets its streams end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      [...this.#members.values()].map(async ({ worker }) => {
        const ended = once(worker, 'exit');
        worker.process.kill('SIGTERM');
        await ended;
      }),
    );
    await this.#operations.stop();
  }

  /** Resolves when the process serves. @throws StartupError when it ends before; it has said why */
  #begin(number: number): Promise<void> {
    const worker = cluster.fork({ GATEWAY_WORKERS: '1', MLX_SERVING_REPLICA_ID: `${replicaIdOf(this.#config)}-${number}` });
    const member: Member = { number, worker, startedAt: performance.now(), leases: [], started: false };
    this.#members.set(number, member);
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromProcess) => {
        this.#receive(member, message);
        if (message.kind === 'started') resolve();
      });
      // A message to a process that was killed just now: its exit follows.
      worker.on('error', (error) => this.#logger.warn({ process: number, err: error }, 'a process of the gateway cannot be told'));
      worker.once('exit', (code, signal) => {
        reject(new StartupError(`Process ${number} of the gateway ended while it started (${signal ?? `exit code ${code}`}).`));
        this.#ended(member, signal ?? `exit code ${code}`);
      });
    });
  }

  #receive(member: Member, message: FromProcess): void {
    if (message.kind === 'state') this.#questions.answer(member.worker, message.question, message);
    else if (message.kind === 'started') this.#started(member, message.stopLimitMs);
    else this.#share(member, message);
  }

  #started(member: Member, stopLimitMs: number): void {
    member.started = true;
    this.#stopLimitMs = Math.max(this.#stopLimitMs, stopLimitMs);
    for (const other of this.#members.values()) {
      if (other !== member) for (const lease of other.leases) tell(member, { kind: 'lease', change: 'joined', ...lease });
    }
  }

  /** A lease that began or ended at one process does so at all. */
  #share(member: Member, { change, variant, address }: Omit<LeaseChange, 'kind'>): void {
    if (change === 'joined') member.leases.push({ variant, address });
    else {
      const at = member.leases.findIndex((lease) => lease.variant === variant && lease.address === address);
      if (at !== -1) member.leases.splice(at, 1);
    }
    for (const other of this.#members.values()) if (other !== member && other.started) tell(other, { kind: 'lease', change, variant, address });
  }

  #ended(member: Member, how: string): void {
    this.#questions.forget(member.worker);
    this.#members.delete(member.number);
    for (const lease of [...member.leases]) this.#share(member, { change: 'left', ...lease });
    if (this.#stopping || !member.started) return;
    const soon = performance.now() - member.startedAt < STEADY_MS;
    const before = soon ? (this.#restarts.get(member.number) ?? 0) : 0;
    this.#restarts.set(member.number, before + 1);
    const delayMs = Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** before);
    this.#logger.error({ process: member.number, how, delayMs }, 'a process of the gateway ended and is started again');
    setTimeout(() => this.#replace(member.number), delayMs);
  }

  #replace(number: number): void {
    if (this.#stopping) return;
    this.#begin(number).catch(() => setTimeout(() => this.#replace(number), LAST_RESTART_MS));
  }

  #ask() {
    return this.#questions.ask([...this.#members.values()].filter(({ started }) => started).map(({ worker }) => worker));
  }

  /** Ready while every process is. */
  async #readiness(): Promise<Readiness> {
    const states = await this.#ask();
    const answers = states.map((state) => state.readiness);
    const missing = this.#config.processes - answers.length;
    const worst = answers.find(({ status }) => status !== 200) ?? answers[0];
    const processes = { configured: this.#config.processes, ready: states.filter(({ readiness }) => readiness.status === 200).map(({ pid }) => pid) };
    if (!worst || missing > 0) return { status: 503, body: { ...worst?.body, status: 'not ready', processes } };
    return { status: worst.status, body: { ...worst.body, processes } };
  }
}

/** One that is ending hears nothing more. */
function tell({ worker }: Member, message: ToProcess): void {
  if (worker.isConnected()) worker.send(message);
}
