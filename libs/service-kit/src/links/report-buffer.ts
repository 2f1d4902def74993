/** What a flush hands over: items in order, and how many were dropped before them. */
export interface Batch<T> {
  readonly items: T[];
  readonly dropped: number;
  /** The number of the first item, from 1 on: what is sent again has the same number. */
  readonly first: number;
}

export interface ReportBufferOptions<T> {
  /** Hands a batch to the link. It answers false when the link did not take it; then the batch stays. */
  readonly send: (batch: Batch<T>) => boolean;
  /** Most items that are kept while the link is down; beyond it the oldest goes. Default: 10000. */
  readonly capacity?: number;
  /** Most items in one batch. Default: 500. */
  readonly batchSize?: number;
  /** Longest time that an item waits, in milliseconds. Default: 100. */
  readonly intervalMs?: number;
  /** Bytes of an item, where items may be large: a message of too many is refused by whoever receives it. Default: they do not count. */
  readonly sizeOf?: (item: T) => number;
}

/** Most bytes that are kept, and of one batch: a gRPC server takes 4 MiB. */
const MOST_BYTES = 16 * 1024 * 1024;
const MOST_BATCH_BYTES = 1024 * 1024;

/** Keeps reports until the link takes them, drops the oldest when it must, and counts what it dropped. */
export class ReportBuffer<T> {
  readonly #options: Required<ReportBufferOptions<T>>;
  #items: T[] = [];
  #bytes = 0;
  #dropped = 0;
  #first = 1;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReportBufferOptions<T>) {
    this.#options = { capacity: 10_000, batchSize: 500, intervalMs: 100, sizeOf: () => 0, ...options };
  }

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    const { capacity, sizeOf, intervalMs } = this.#options;
    this.#items.push(item);
    this.#bytes += sizeOf(item);
    while (this.#items.length > 1 && (this.#items.length > capacity || this.#bytes > MOST_BYTES)) {
      this.#bytes -= sizeOf(this.#items.shift() as T);
      this.#dropped++;
      this.#first++;
    }
    this.#timer ??= setTimeout(() => this.flush(), intervalMs).unref();
  }

  /** Sends what there is. Call it also when the link comes back. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#items.length > 0) {
      const { count, bytes } = this.#nextBatch();
      const items = this.#items.slice(0, count);
      if (!this.#options.send({ items, dropped: this.#dropped, first: this.#first })) {
        this.#timer = setTimeout(() => this.flush(), this.#options.intervalMs * 10).unref();
        return;
      }
      this.#dropped = 0;
      this.#first += items.length;
      this.#items = this.#items.slice(count);
      this.#bytes -= bytes;
    }
  }

  /** The first items that go together: at least one. */
  #nextBatch(): { count: number; bytes: number } {
    const { batchSize, sizeOf } = this.#options;
    let [count, bytes] = [0, 0];
    for (const item of this.#items) {
      const size = sizeOf(item);
      if (count === batchSize || (count > 0 && bytes + size > MOST_BATCH_BYTES)) break;
      count++;
      bytes += size;
    }
    return { count, bytes };
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
