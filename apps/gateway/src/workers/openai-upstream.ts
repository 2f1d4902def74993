import { Agent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { create } from '@bufbuild/protobuf';
import { type ModelInfo, ModelInfoSchema, type WorkerGenerateRequest } from '@mlx-serving/contracts';
import { z } from 'zod';
import { OpenAiTransport } from '../transport/openai-transport.ts';
import type { TokenStream, TokenStreamListener, TokenStreamOptions } from '../transport/token-transport.ts';
import type { Upstream } from './upstream.ts';

const HEALTH_INTERVAL_MS = 1_000;
const ANSWER_LIMIT_MS = 2_000;
/** Seconds since 1970 beyond which a time is none. */
const LATEST_S = 2 ** 40;

/** One model of a list. Servers differ in what they say besides its id. */
const listedModel = z.object({ id: z.string().min(1).max(256), created: z.number().min(0).max(LATEST_S).catch(0) });
const modelList = z.object({ data: z.array(z.unknown()) });

/** What an address of such a server says. */
export interface OpenAiAddress {
  /** Up to and with the path before `/chat/completions`, without secrets: how the server is named. */
  readonly name: string;
  readonly base: URL;
  readonly key: string | undefined;
  readonly model: string | undefined;
}

/** Reads `http[s]://[KEY@]host[:port][/v1][#MODEL]`: KEY goes as a bearer token, MODEL is the name sent in place of the request's. */
export function parseOpenAiAddress(address: string): OpenAiAddress {
  const base = new URL(address);
  const key = decodeURIComponent(base.username || base.password) || undefined;
  const model = decodeURIComponent(base.hash.slice(1)) || undefined;
  base.username = base.password = base.hash = base.search = '';
  base.pathname = base.pathname.replace(/\/+$/, '') || '/v1';
  return { name: base.href, base, key, model };
}

/** A server of OpenAI's API: mlx_lm.server, vLLM, LM Studio, Ollama. It serves while it answers /health, or its list of models. */
export class OpenAiUpstream implements Upstream {
  readonly continues = false;
  readonly #address: OpenAiAddress;
  readonly #transport: OpenAiTransport;
  readonly #headers: Record<string, string>;
  readonly #onChange: (serving: boolean) => void;
  #timer: NodeJS.Timeout | undefined;
  #serving = false;
  #looking = false;
  #stopped = false;

  constructor(address: OpenAiAddress, onChange: (serving: boolean) => void) {
    this.#address = address;
    this.#onChange = onChange;
    this.#headers = address.key === undefined ? {} : { authorization: `Bearer ${address.key}` };
    const agent = new (address.base.protocol === 'https:' ? HttpsAgent : Agent)({ keepAlive: true, scheduling: 'lifo' });
    this.#transport = new OpenAiTransport({ base: address.base, agent, headers: this.#headers, model: address.model });
  }

  get serving(): boolean {
    return this.#serving;
  }

  start(): void {
    void this.#check();
  }

  stop(): void {
    this.#stopped = true;
    this.#serving = false;
    clearTimeout(this.#timer);
    this.#transport.close();
  }

  open(request: WorkerGenerateRequest, listener: TokenStreamListener, options?: TokenStreamOptions): TokenStream {
    const ended = (error?: unknown): void => {
      // Perhaps it is gone: the next look should not wait.
      if (error !== undefined) void this.#check();
      listener.ended(error);
    };
    return this.#transport.open(request, { response: (response) => listener.response(response), ended }, options);
  }

  async answers(): Promise<boolean> {
    return (await this.#status(this.#modelsPath)) !== undefined;
  }

  async models(): Promise<readonly ModelInfo[]> {
    const answer = await this.#get(this.#modelsPath);
    const list = modelList.safeParse(await answer?.json().catch(() => undefined));
    if (!answer?.ok || !list.success) return [];
    const models = list.data.data.map((one) => listedModel.safeParse(one));
    return models.flatMap(({ data }) => (data ? [create(ModelInfoSchema, { id: data.id, loadedAt: BigInt(Math.trunc(data.created)) })] : []));
  }

  get #modelsPath(): string {
    return `${this.#address.base.pathname}/models`;
  }

  async #check(): Promise<void> {
    // Many requests may fail at one time: one look is enough.
    if (this.#looking) return;
    clearTimeout(this.#timer);
    this.#looking = true;
    const health = await this.#status('/health');
    const serving = isOk(health === 404 ? await this.#status(this.#modelsPath) : health);
    this.#looking = false;
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#check(), HEALTH_INTERVAL_MS);
    if (serving === this.#serving) return;
    this.#serving = serving;
    this.#onChange(serving);
  }

  /** @returns undefined when there is no answer in time */
  async #status(path: string): Promise<number | undefined> {
    const answer = await this.#get(path);
    // What it says is not read, and may break off.
    await answer?.body?.cancel().catch(() => undefined);
    return answer?.status;
  }

  #get(path: string): Promise<Response | undefined> {
    return fetch(new URL(path, this.#address.base), { headers: this.#headers, signal: AbortSignal.timeout(ANSWER_LIMIT_MS) }).catch(() => undefined);
  }
}

function isOk(status: number | undefined): boolean {
  return status !== undefined && status >= 200 && status < 300;
}
