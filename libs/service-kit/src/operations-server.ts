import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { listen, closeHttpServer } from './http-server.ts';

/** A named condition that must hold before a service takes traffic. It answers null when it holds, else what is missing. */
export type ReadinessCheck = () => string | null;

export interface Health {
  /** By name, in the order in which they are shown. */
  readonly checks: Record<string, ReadinessCheck>;
  /** Facts that are shown but decide nothing. */
  readonly details?: () => Record<string, unknown>;
}

/** Where /metrics comes from. */
export type MetricsSource = Pick<Registry, 'metrics' | 'contentType'>;

export interface Readiness {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Where /health/ready comes from: checks of this process, or what asks other processes. */
export type HealthSource = Health | (() => Promise<Readiness>);

/** The answer of /health/ready: 200 when every check holds, else 503 and what is missing. */
export function readiness(health: Health): Readiness {
  const checks = Object.fromEntries(Object.entries(health.checks).map(([name, check]) => [name, check() ?? 'ok']));
  const ready = Object.values(checks).every((answer) => answer === 'ok');
  return { status: ready ? 200 : 503, body: { status: ready ? 'ready' : 'not ready', checks, ...health.details?.() } };
}

/** Answers GET /metrics, /health/live and /health/ready; returns false for any other path. */
export async function answerOperations(path: string, response: ServerResponse, registry: MetricsSource, health: HealthSource): Promise<boolean> {
  if (path === '/metrics') {
    const text = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType }).end(text);
  } else if (path === '/health/live') {
    sendJson(response, 200, { status: 'live' });
  } else if (path === '/health/ready') {
    const { status, body } = typeof health === 'function' ? await health() : readiness(health);
    sendJson(response, status, body);
  } else return false;
  return true;
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
}

/** The port on which a service shows its metrics and its health, apart from the port that it works on. */
export class OperationsServer {
  readonly #server: Server;
  readonly #host: string;
  readonly #port: number;

  constructor(options: { host: string; port: number; registry: MetricsSource; health: HealthSource }) {
    this.#host = options.host;
    this.#port = options.port;
    this.#server = createServer((request, response) => {
      const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
      answerOperations(path, response, options.registry, options.health)
        .then((answered) => answered || sendJson(response, 404, { error: 'There is /metrics, /health/live and /health/ready.' }))
        .catch(() => response.destroy());
    });
  }

  /** @returns the port it listens on, which matters when 0 was asked for. */
  start(): Promise<number> {
    return listen(this.#server, this.#host, this.#port);
  }

  stop(): Promise<void> {
    return closeHttpServer(this.#server, 1_000);
  }
}
