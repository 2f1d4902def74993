import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from './redis-process.ts';

/** Of the test runner, which this library does not import: benches use it too. */
export interface SuiteHooks {
  readonly beforeAll: (work: () => Promise<void>) => void;
  readonly afterAll: (work: () => Promise<void>) => void;
}

/** A real Redis with one client for the tests of a `describe`: there before the first of them, gone after the last. */
export class SuiteRedis {
  #server: RedisProcess | undefined;
  #client: ReturnType<typeof createRedis> | undefined;
  #prefixes = 0;

  constructor({ beforeAll, afterAll }: SuiteHooks) {
    beforeAll(async () => {
      this.#server = await startRedis();
      this.#client = createRedis(this.#server.url, silentLogger, 'test');
    });
    afterAll(async () => {
      this.#client?.disconnect();
      await this.#server?.dispose();
    });
  }

  /** @throws Error outside of a test */
  get client(): ReturnType<typeof createRedis> {
    if (!this.#client) throw new Error('This Redis is there for the tests alone.');
    return this.#client;
  }

  /** A prefix of keys that nothing else in it has. */
  prefix(): string {
    return `test-${this.#prefixes++}:`;
  }
}
