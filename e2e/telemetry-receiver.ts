import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a receiver of OpenTelemetry got: spans with their attributes and events, and the names of metrics. */
export class TelemetryReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly metrics = new Set<string>();
  readonly #server: Server;
  url = '';

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.#take(JSON.parse(Buffer.concat(chunks).toString()) as ExportRequest);
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #take({ resourceSpans = [], resourceMetrics = [] }: ExportRequest): void {
    for (const { scopeSpans } of resourceSpans) for (const { spans } of scopeSpans) this.spans.push(...spans.map((span) => ({ ...span, values: valuesOf(span.attributes), events: (span.events ?? []).map((event) => ({ name: event.name, values: valuesOf(event.attributes) })) })));
    for (const { scopeMetrics } of resourceMetrics) for (const { metrics } of scopeMetrics) for (const { name } of metrics) this.metrics.add(name);
  }
}

interface Attributed {
  readonly name: string;
  readonly attributes: readonly { key: string; value: Record<string, unknown> }[];
}

interface ExportedSpan extends Attributed {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly events?: readonly Attributed[];
}

interface ReceivedSpan extends Omit<ExportedSpan, 'events'> {
  readonly values: Readonly<Record<string, unknown>>;
  readonly events: readonly { name: string; values: Readonly<Record<string, unknown>> }[];
}

interface ExportRequest {
  readonly resourceSpans?: readonly { scopeSpans: readonly { spans: readonly ExportedSpan[] }[] }[];
  readonly resourceMetrics?: readonly { scopeMetrics: readonly { metrics: readonly { name: string }[] }[] }[];
}

function valuesOf(attributes: Attributed['attributes']): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
