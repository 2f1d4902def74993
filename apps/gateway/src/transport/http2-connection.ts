import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { STREAM_WINDOW_BYTES } from './token-transport.ts';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
const KEEPALIVE_MS = 20_000;
const KEEPALIVE_LIMIT_MS = 5_000;
/** Of the whole connection: what no single stream may use up for the others. */
const CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024;
/** Node's own bound refuses streams when others have unread data; here each stream's window is the bound. */
const SESSION_MEMORY_MB = 1_048_576;

/**
 * One HTTP/2 session to one server, made anew when it is lost or when the server sends it away (GOAWAY; what runs on the
 * old one goes on there). Between failed attempts it waits 0.1 to 2 seconds.
 */
export class Http2Connection {
  readonly #authority: string;
  #session: ClientHttp2Session | undefined;
  #failures = 0;
  #retryAt = 0;
  #closed = false;
  readonly #sessions = new Set<ClientHttp2Session>();

  /** @param address `host:port` */
  constructor(address: string) {
    this.#authority = `http://${address}`;
  }

  /** A session that takes requests, perhaps before it is connected; undefined while it waits to try again. */
  session(): ClientHttp2Session | undefined {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    if (this.#closed || performance.now() < this.#retryAt) return undefined;
    return (this.#session = this.#connect());
  }

  /** Connects at once, whatever failed before: the server is known to be there. */
  prepare(): void {
    this.#retryAt = 0;
    this.session();
  }

  close(): void {
    this.#closed = true;
    for (const session of this.#sessions) session.destroy(undefined, constants.NGHTTP2_CANCEL);
  }

  #connect(): ClientHttp2Session {
    const session = connect(this.#authority, { settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES }, maxSessionMemory: SESSION_MEMORY_MB });
    const keepalive = setInterval(() => ping(session), KEEPALIVE_MS).unref();
    this.#sessions.add(session);
    session.once('connect', () => {
      this.#failures = 0;
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    });
    session.once('goaway', () => this.#leave(session));
    // Its streams say what happened.
    session.on('error', () => this.#failed(session));
    session.once('close', () => {
      clearInterval(keepalive);
      this.#sessions.delete(session);
      this.#leave(session);
    });
    return session;
  }

  #leave(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  #failed(session: ClientHttp2Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    const delay = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#failures++, 10));
    this.#retryAt = performance.now() + delay * (0.5 + Math.random() / 2);
  }
}

/** A server that does not answer a ping in time is gone. */
function ping(session: ClientHttp2Session): void {
  if (session.destroyed || session.connecting) return;
  const limit = setTimeout(() => session.destroy(new Error('The worker does not answer pings.')), KEEPALIVE_LIMIT_MS).unref();
  if (!session.ping(() => clearTimeout(limit))) clearTimeout(limit);
}
