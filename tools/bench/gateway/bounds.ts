import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Rig, Target } from './rig.ts';
import type { Gateway, System } from './system.ts';
import { chatBody, type Plan } from './trials.ts';

const BIG: Plan = { tokens: 40_000, size: 2_500 };
/** After so long what is still there is a leak. */
const SETTLES_WITHIN_MS = 5_000;
const DEPTH = 'mlx_serving_gateway_queue_depth';

/** What holds however the clients behave: measured at our gateway alone. */
export class Bounds {
  readonly #rig: Rig;
  readonly #system: System;
  readonly #user: string | undefined;

  /** @param user chooses the transport */
  constructor(rig: Rig, system: System, user?: string) {
    this.#rig = rig;
    this.#system = system;
    this.#user = user;
  }

  target(plan: Plan = {}, stream = true, gateway: Gateway = this.#system.gateway): Target {
    return { address: gateway.address, path: '/v1/chat/completions', body: chatBody(plan, { stream, ...(this.#user === undefined ? {} : { user: this.#user }) }) };
  }

  /** Milliseconds from the client's close to the end of the request, p99. @throws Error when one was never cancelled */
  async cancelled(phase: 'queued' | 'prefill' | 'streaming' | 'whole', count: number): Promise<number> {
    if (phase === 'queued') return this.#leftQueue(count);
    const plan = phase === 'prefill' ? { first: 60_000_000 } : { tokens: 10_000, gap: 10_000 };
    const { ms, never, error } = await this.#rig.ask('abandon', { ...this.target(plan, phase !== 'whole'), phase, count });
    if (never > 0) throw new Error(`${phase}: ${never} of ${count} were never cancelled: ${error}`);
    return ms.p99;
  }

  async #leftQueue(count: number): Promise<number> {
    const narrow = await this.#system.narrow();
    const left = new AbortController();
    const body = chatBody({ first: 60_000_000 }).replace('%ID%', '0');
    // It has the only place while the others wait.
    const first = fetch(`http://${narrow.address}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: left.signal }).catch(() => undefined);
    await this.#metric(narrow, 'mlx_serving_gateway_active_streams', 1);
    const order = { ...this.target({}, true, narrow), phase: 'queued' as const, count, metrics: narrow.metricsUrl, depth: DEPTH };
    // It has just started, and every look at its queue is a whole page of metrics: the first ones take several times as long.
    await this.#rig.ask('abandon', order);
    const { ms, never, error } = await this.#rig.ask('abandon', order);
    left.abort();
    await first;
    if (never > 0) throw new Error(`queued: ${never} of ${count} never left the queue: ${error}`);
    return ms.p99;
  }

  /** A client that stops reading an answer of 100 MB: growth of the gateway and what the upstream could send, in MB. */
  async stalled(): Promise<{ growth: number; sent: number }> {
    const { growthMb, sentMb, error } = await this.#rig.ask('stall', { ...this.target(BIG), pid: this.#system.gateway.pid });
    if (error !== undefined) throw new Error(error);
    return { growth: growthMb, sent: sentMb };
  }

  /** Others' p99 of a whole stream, and the slowest health check, in ms. */
  async beside(abusive: 'none' | 'stops reading' | 'reads all'): Promise<{ p99: number; health: number }> {
    const others = { ...this.target({ gap: 5_000 }), connections: 8, seconds: 3 };
    const { load, health, failed } = await this.#rig.ask('abuse', { ...others, abuse: abusive === 'none' ? '' : this.target(BIG).body, reads: abusive === 'reads all', health: this.#system.gateway.healthUrl });
    if (load.errors + failed > 0) throw new Error(`${load.errors} streams and ${failed} health checks failed: ${load.error}`);
    return { p99: load.total.p99, health: health.max };
  }

  /** 16 streams with a token every 10 ms: milliseconds to the first token over those of the upstream itself, p99. */
  async pacedFirst(direct: Target): Promise<number> {
    const paced: Plan = { gap: 10_000 };
    const ours = await this.#rig.ask('load', { ...this.target(paced), connections: 16, seconds: 3 });
    const alone = await this.#rig.ask('load', { ...direct, body: chatBody(paced), connections: 16, seconds: 3 });
    return ours.first.p99 - alone.first.p99;
  }

  /** 1,000 streams at once, the first that a gateway has: bytes of memory for each, and the slowest stream's rate as a share of the median's. */
  async many(): Promise<{ kib: number; fairness: number }> {
    const gateway = await this.#system.fresh();
    try {
      return await this.#manyAt(gateway, 1_000);
    } finally {
      await gateway.stop();
    }
  }

  async #manyAt(gateway: Gateway, connections: number): Promise<{ kib: number; fairness: number }> {
    const before = await this.#rig.ask('usage', { pid: gateway.pid });
    const load = this.#rig.ask('load', { ...this.target({ tokens: 50, gap: 200_000 }, true, gateway), connections, count: 1 });
    let peak = 0;
    for (let done = false; !done; ) {
      done = await Promise.race([load.then(() => true), delay(250, false)]);
      peak = Math.max(peak, residentMb(gateway.pid));
    }
    const { errors, error, total } = await load;
    if (errors > 0) throw new Error(`${errors} of ${connections} streams failed: ${error}`);
    return { kib: ((peak - before.residentMb) * 1e6) / 1_024 / connections, fairness: total.p50 / total.max };
  }

  /** Resident memory after so many streams, and how it grew over the second half, in MB for 10,000 streams. */
  async memory(streams: number): Promise<{ residentMb: number; slope: number }> {
    const target = { ...this.target(), connections: 16 };
    const half = Math.ceil(streams / 2 / 16);
    const { pid } = this.#system.gateway;
    const peaks: number[] = [];
    for (let part = 0; part < 2; part++) {
      let peak = 0;
      for (let step = 0; step < 5; step++) {
        await this.#rig.ask('load', { ...target, count: Math.ceil(half / 5) });
        peak = Math.max(peak, (await this.#rig.ask('usage', { pid })).residentMb);
      }
      peaks.push(peak);
    }
    const [first = 0, second = 0] = peaks;
    return { residentMb: Math.max(first, second), slope: ((second - first) * 10_000) / (half * 16) };
  }

  /** So many streams whose clients leave: what stays of them: streams at the upstream, in the gateway, and open files. */
  async leaked(count: number): Promise<number> {
    const { gateway } = this.#system;
    await this.#rig.ask('load', { ...this.target(), connections: 32, count: 1 });
    await delay(200);
    const before = await this.#held(gateway);
    const { never, error } = await this.#rig.ask('abandon', { ...this.target({ tokens: 10_000, gap: 10_000 }), phase: 'streaming', count: Math.ceil(count / 32), connections: 32 });
    if (never > 0) throw new Error(`${never} of ${count} were never cancelled: ${error}`);
    // What is on its way out is gone in a moment; what has leaked stays.
    let leaked = Number.POSITIVE_INFINITY;
    for (const began = performance.now(); leaked > 0 && performance.now() - began < SETTLES_WITHIN_MS; await delay(200)) leaked = (await this.#held(gateway)) - before;
    return Math.max(0, leaked);
  }

  /** Streams at the upstream, requests in the gateway, and its open files; the connection that asks for them is always among them. */
  async #held(gateway: Gateway): Promise<number> {
    const requests = (await this.#read(gateway, 'mlx_serving_gateway_active_streams')) + (await this.#read(gateway, DEPTH));
    const { running } = await this.#rig.ask('usage', { pid: gateway.pid });
    return running + requests + readdirSync(`/proc/${gateway.pid}/fd`).length;
  }

  async #metric(gateway: Gateway, name: string, value: number): Promise<void> {
    while ((await this.#read(gateway, name)) !== value) await delay(20);
  }

  async #read({ metricsUrl }: Gateway, name: string): Promise<number> {
    const text = await (await fetch(metricsUrl)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  }
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readStatus(pid))?.[1] ?? 0) * 1.024e-3;
}

function readStatus(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'utf8');
}
