import { randomUUID } from 'node:crypto';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type StreamReportBatch, StreamReportBatchSchema } from '@mlx-serving/contracts';
import type { createRedis } from '@mlx-serving/service-kit';
import { z } from 'zod';

type Redis = ReturnType<typeof createRedis>;

export interface ReportExchangeOptions {
  readonly redis: Redis;
  /** A connection of its own, which only listens. */
  readonly subscriber: Redis;
  readonly prefix: string;
  /** Gateways that are linked to this replica. */
  readonly linkedGateways: () => number;
  /** Called with what a gateway has reported to another replica. */
  readonly onBatch: (replicaId: string, epoch: string, batch: StreamReportBatch) => void;
  /** A monotonic clock in milliseconds. */
  readonly now: () => number;
}

/** What stands before the batch: who sends it, and the gateway's name and epoch; without these it only says that the sender is there. */
const heading = z.strictObject({ from: z.string(), gateways: z.number().int().min(0), replicaId: z.string().optional(), epoch: z.string().optional() });

const SAY_EVERY_MS = 1_000;
/** Another replica counts for so long after it was heard. */
const HEARD_MS = 5_000;
const END_OF_HEADING = 10;

/**
 * Passes on what gateways report to the other replicas, so that whichever acts judges by all of it, and another one that takes over
 * is not blind at first. Batches keep the gateway's own numbers: one that comes twice, or by two ways, counts once (SPEC Q1).
 * While no other replica is there nothing is sent but that this one is.
 */
export class ReportExchange {
  readonly #options: ReportExchangeOptions;
  readonly #channel: string;
  readonly #self = randomUUID();
  readonly #others = new Map<string, { gateways: number; at: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReportExchangeOptions) {
    this.#options = options;
    this.#channel = `${options.prefix}qos:reports`;
  }

  start(): void {
    const { subscriber } = this.#options;
    subscriber.on('messageBuffer', (_: Buffer, message: Buffer) => this.#receive(message));
    subscriber.on('ready', () => void subscriber.subscribe(this.#channel).catch(() => undefined));
    subscriber.connect().catch(() => undefined);
    this.#timer = setInterval(() => this.#send(Buffer.alloc(0)), SAY_EVERY_MS);
    this.#send(Buffer.alloc(0));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#options.subscriber.disconnect();
  }

  /** Gateways that are linked to any replica. */
  get gateways(): number {
    return this.#alive().reduce((sum, { gateways }) => sum + gateways, this.#options.linkedGateways());
  }

  /** Passes a batch on. While Redis is away it is lost to the others, as they are to this one. */
  share(replicaId: string, epoch: string, batch: StreamReportBatch): void {
    if (this.#alive().length > 0) this.#send(toBinary(StreamReportBatchSchema, batch), { replicaId, epoch });
  }

  #alive(): { gateways: number }[] {
    return [...this.#others.values()].filter(({ at }) => this.#options.now() - at < HEARD_MS);
  }

  #send(body: Uint8Array, of: { replicaId?: string; epoch?: string } = {}): void {
    const { redis, linkedGateways } = this.#options;
    const head = JSON.stringify({ from: this.#self, gateways: linkedGateways(), ...of });
    if (redis.status === 'ready') redis.publish(this.#channel, Buffer.concat([Buffer.from(`${head}\n`), body])).catch(() => undefined);
  }

  #receive(message: Buffer): void {
    const end = message.indexOf(END_OF_HEADING);
    const head = heading.safeParse(readJson(message.subarray(0, Math.max(0, end)).toString())).data;
    if (!head || head.from === this.#self) return;
    this.#others.set(head.from, { gateways: head.gateways, at: this.#options.now() });
    for (const [from, { at }] of this.#others) if (this.#options.now() - at >= HEARD_MS) this.#others.delete(from);
    const batch = head.replicaId === undefined ? undefined : readBatch(message.subarray(end + 1));
    if (batch) this.#options.onBatch(head.replicaId as string, head.epoch ?? '', batch);
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function readBatch(bytes: Uint8Array): StreamReportBatch | undefined {
  try {
    return fromBinary(StreamReportBatchSchema, bytes);
  } catch {
    return undefined;
  }
}
