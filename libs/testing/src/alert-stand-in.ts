import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pagerdutyEvent, slackMessage } from './alert-schemas.ts';

export interface ReceivedAlert {
  readonly path: string;
  readonly body: Record<string, unknown>;
}

/**
 * Stands in for Slack (`/slack`), PagerDuty (`/v2/enqueue`) and a webhook (`/webhook`). It takes what they take and refuses what
 * they refuse, in their own words, and keeps PagerDuty's incidents.
 */
export class AlertStandIn {
  /** What was accepted, in the order in which it came. */
  readonly received: ReceivedAlert[] = [];
  /** What was refused because it is not of the receiver's form. */
  readonly problems: string[] = [];
  /** Answers to give first, whatever comes: a status, and a header `retry-after` in seconds. */
  readonly answers: { readonly status: number; readonly retryAfter?: number }[] = [];
  /** PagerDuty's incidents by dedup_key. */
  readonly incidents = new Map<string, 'open' | 'resolved'>();
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => this.#answer(request, response, Buffer.concat(parts).toString()));
    });
  }

  /** @returns its base, such as `http://127.0.0.1:1234` */
  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** Bodies that came to a path. */
  at(path: string): Record<string, unknown>[] {
    return this.received.filter((each) => each.path === path).map(({ body }) => body);
  }

  #answer(request: IncomingMessage, response: ServerResponse, text: string): void {
    const told = this.answers.shift();
    if (told) return void response.writeHead(told.status, told.retryAfter === undefined ? {} : { 'retry-after': String(told.retryAfter) }).end();
    const path = request.url ?? '';
    const body = request.headers['content-type']?.startsWith('application/json') ? readObject(text) : undefined;
    const problems = body ? this.#problemsOf(path, body) : ['not a JSON object'];
    if (!body || problems.length > 0) {
      this.problems.push(`${path}: ${problems.join('; ')}`);
      return void response.writeHead(400).end(path === '/slack' ? 'invalid_payload' : JSON.stringify({ status: 'invalid event', message: 'Event object is invalid', errors: problems }));
    }
    this.received.push({ path, body });
    this.#accept(path, body, response);
  }

  #accept(path: string, body: Record<string, unknown>, response: ServerResponse): void {
    if (path === '/slack') return void response.writeHead(200).end('ok');
    if (path === '/webhook') return void response.writeHead(204).end();
    this.#keepIncident(body);
    response.writeHead(202).end(JSON.stringify({ status: 'success', message: 'Event processed', dedup_key: body['dedup_key'] }));
  }

  #problemsOf(path: string, body: Record<string, unknown>): string[] {
    if (path === '/webhook') return [];
    const schema = { '/slack': slackMessage, '/v2/enqueue': pagerdutyEvent }[path];
    if (!schema) return ['there is nothing here'];
    return schema.safeParse(body).error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];
  }

  /** An event that resolves what was never triggered is taken by PagerDuty too, and does nothing. */
  #keepIncident({ event_action: action, dedup_key: key }: Record<string, unknown>): void {
    if (action === 'trigger') this.incidents.set(String(key), 'open');
    else if (this.incidents.has(String(key))) this.incidents.set(String(key), 'resolved');
    else this.problems.push(`${String(action)} of an incident that was never triggered: ${String(key)}`);
  }
}

function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
