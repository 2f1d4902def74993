import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { once } from 'node:events';
import { join } from 'node:path';
import { cache, root, runToEnd, stopChild } from './processes.ts';

export interface Quantiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** A gateway, and what is asked of it; `%ID%` in the body becomes the number of the request. */
export interface Target {
  readonly address: string;
  readonly path: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface LoadResult {
  readonly streams: number;
  readonly errors: number;
  readonly error?: string;
  readonly seconds: number;
  /** Milliseconds to the first content, and to the end. */
  readonly first: Quantiles;
  readonly total: Quantiles;
}

export interface Usage {
  readonly cpuMs: number;
  readonly residentMb: number;
  /** Streams at the fake upstream, and those that were cancelled there so far. */
  readonly running: number;
  readonly cancelled: number;
}

type Load = Target & { readonly connections: number } & ({ readonly seconds: number } | { readonly count: number });

/** What the rig can be asked for, and what it answers. */
interface Orders {
  load: [Load, LoadResult];
  abandon: [Target & { phase: 'queued' | 'prefill' | 'streaming' | 'whole'; count: number; connections?: number; metrics?: string; depth?: string }, { cancelled: number; never: number; error?: string; ms: Quantiles }];
  stall: [Target & { pid: number; connections?: number }, { sentMb: number; growthMb: number; error?: string }];
  abuse: [Load & { abuse: string; reads: boolean; health: string }, { load: LoadResult; health: Quantiles; failed: number }];
  usage: [{ pid: number }, Usage];
}

/** The Go process that is the upstream and the load, so that neither is slowed by what is measured here. */
export class Rig {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  private constructor(child: ChildProcess, lines: Interface, ports: { grpcPort: number; httpPort: number }) {
    this.#child = child;
    this.#lines = lines;
    this.grpcPort = ports.grpcPort;
    this.httpPort = ports.httpPort;
  }

  /** Builds it and starts it. @throws Error when there is no Go, which this bench needs */
  static async start(): Promise<Rig> {
    const binary = join(cache, 'rig');
    runToEnd(['go', 'build', '-o', binary, '.'], join(root, 'tools', 'bench', 'gateway', 'rig'));
    const child = spawn(binary, [], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    const [line] = (await once(lines, 'line')) as [string];
    return new Rig(child, lines, JSON.parse(line) as { grpcPort: number; httpPort: number });
  }

  /** One order at a time. */
  async ask<Op extends keyof Orders>(op: Op, order: Orders[Op][0]): Promise<Orders[Op][1]> {
    this.#child.stdin?.write(`${JSON.stringify({ op, ...order })}\n`);
    const [line] = (await once(this.#lines, 'line')) as [string];
    return JSON.parse(line) as Orders[Op][1];
  }

  stop(): Promise<void> {
    return stopChild(this.#child);
  }
}
