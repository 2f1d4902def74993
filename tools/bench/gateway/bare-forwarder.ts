// What Node itself costs: node:http in front of a fake worker, with nothing that a gateway is for: no check of the
// request, no decision, no queue, no choice of a worker, no cancellation, no limit of time or memory, no log, no metrics.
// node bare-forwarder.ts grpc-js|http2 PORT WORKER
import { createServer, type ServerResponse } from 'node:http';
import { connect } from 'node:http2';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { methodDefinition, Worker, type WorkerGenerateRequest, type WorkerGenerateResponse } from '@mlx-serving/contracts';
import { ChunkedBody } from '../../../apps/gateway/src/http/chunked-body.ts';
import { decodeResponse } from '../../../apps/gateway/src/transport/decode-response.ts';
import { encodeRequest } from '../../../apps/gateway/src/transport/encode-request.ts';
import { frame, FrameReader } from '../../../apps/gateway/src/transport/frame-reader.ts';

/** Opens one stream at the worker. */
type Open = (request: Buffer, onMessage: (message: Buffer) => void) => void;

const { path } = methodDefinition(Worker.method.generate);
const MOST_MESSAGE_BYTES = 4 * 1024 * 1024;
const HEAD = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };

/** A call of grpc-js without the readable stream that its clients put on top. */
function openByGrpcJs(worker: string): Open {
  const channel = new Client(worker, credentials.createInsecure(), { 'grpc.enable_retries': 0 }).getChannel();
  return (request, onMessage) => {
    const call = channel.createCall(path, Number.POSITIVE_INFINITY, null, null, null);
    const onReceiveMessage = (message: Buffer): void => {
      onMessage(message);
      call.startRead();
    };
    call.start(new Metadata(), { onReceiveMetadata: () => undefined, onReceiveMessage, onReceiveStatus: () => undefined });
    call.sendMessageWithContext({}, request);
    call.halfClose();
    call.startRead();
  };
}

/** A stream of one raw session, whose messages are cut out by hand. */
function openByHttp2(worker: string): Open {
  const session = connect(`http://${worker}`);
  const headers = { ':method': 'POST', ':path': path, 'te': 'trailers', 'content-type': 'application/grpc+proto' };
  return (request, onMessage) => {
    const stream = session.request(headers, { endStream: false });
    const frames = new FrameReader(MOST_MESSAGE_BYTES, onMessage);
    stream.on('data', (bytes: Buffer) => frames.push(bytes));
    stream.end(frame(request));
  };
}

/** Writes a stream's chunks: the first at once, later ones once a turn of the event loop. */
class ChunkWriter {
  readonly #response: ServerResponse;
  #body: ChunkedBody | undefined;
  #pending = '';

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  take({ event }: WorkerGenerateResponse): void {
    if (event.case === 'finished') this.#body?.end(`${this.#pending}data: [DONE]\n\n`);
    if (event.case !== 'chunk') return;
    const waits = this.#pending !== '';
    for (const { text } of event.value.tokens) this.#pending += `data: {"id":"bare","object":"chat.completion.chunk","created":0,"model":"bench","choices":[{"index":0,"delta":{"content":${JSON.stringify(text)}},"finish_reason":null}]}\n\n`;
    if (!this.#body) this.#begin();
    else if (!waits) setImmediate(() => this.#flush());
  }

  #begin(): void {
    this.#response.writeHead(200, HEAD);
    this.#body = new ChunkedBody(this.#response);
    this.#flush();
  }

  #flush(): void {
    if (this.#response.writableEnded) return;
    this.#body?.write(this.#pending);
    this.#pending = '';
  }
}

function requestOf(body: string): WorkerGenerateRequest {
  const { model, messages } = JSON.parse(body) as { model: string; messages: { role: string; content: string }[] };
  const turns = messages.map(({ role, content }) => ({ $typeName: 'mlx_serving.v1.ChatMessage' as const, role, content, toolCalls: [], toolCallId: '' }));
  return {
    $typeName: 'mlx_serving.v1.WorkerGenerateRequest',
    requestId: 'bare',
    model,
    input: { case: 'conversation', value: { $typeName: 'mlx_serving.v1.Conversation', messages: turns, toolsJson: [] } },
    enabledFlags: [],
    priority: 0,
    tenant: '',
    resumeTokenIds: [],
  };
}

const [transport, port, worker = ''] = process.argv.slice(2);
const open = (transport === 'http2' ? openByHttp2 : openByGrpcJs)(worker);
createServer((request, response) => {
  if (request.method !== 'POST') return void response.end();
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const chunks = new ChunkWriter(response);
    open(encodeRequest(requestOf(Buffer.concat(parts).toString())), (message) => chunks.take(decodeResponse(message)));
  });
}).listen(Number(port), '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
