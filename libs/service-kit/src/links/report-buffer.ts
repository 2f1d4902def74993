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
}

/** Keeps reports until the link takes them, drops the oldest when it must, and counts what it dropped. */
export class ReportBuffer<T> {
  readonly #options: Required<ReportBufferOptions<T>>;
  #items: T[] = [];
  #dropped = 0;
  #first = 1;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReportBufferOptions<T>) {
    this.#options = { capacity: 10_000, batchSize: 500, intervalMs: 100, ...options };
  }

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    this.#items.push(item);
    if (this.#items.length > this.#options.capacity) {
      this.#items.shift();
      this.#dropped++;
      this.#first++;
    }
    this.#timer ??= setTimeout(() => this.flush(), this.#options.intervalMs).unref();
  }

  /** Sends what there is. Call it also when the link comes back. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#items.length > 0) {
      const items = this.#items.slice(0, this.#options.batchSize);
      if (!this.#options.send({ items, dropped: this.#dropped, first: this.#first })) {
        this.#timer = setTimeout(() => this.flush(), this.#options.intervalMs * 10).unref();
        return;
      }
      this.#dropped = 0;
      this.#first += items.length;
      this.#items = this.#items.slice(items.length);
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
