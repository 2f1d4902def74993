import { afterEach, describe, expect, it } from '@jest/globals';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Redis } from 'ioredis';
import { silentLogger } from './logger.ts';
import { createRedis } from './redis.ts';

let server: Server | undefined;
let redis: Redis | undefined;
const sockets: Socket[] = [];

/** A server that takes connections and answers as told; without an answer it is a black hole. */
async function listen(answer?: (text: string) => string): Promise<string> {
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const text = answer?.(bytes.toString());
      if (text !== undefined) socket.write(text);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `redis://127.0.0.1:${(server.address() as { port: number }).port}`;
}

afterEach(() => {
  redis?.disconnect();
  sockets.splice(0).forEach((socket) => socket.destroy());
  server?.close();
});

describe('createRedis', () => {
  it('fails a command by its own time limit when the server never answers', async () => {
    redis = createRedis(await listen(), silentLogger, 'test');
    await expect(redis.hgetall('feature_flags')).rejects.toThrow('Command timed out');
  });

  it('fails every command that waits, not only the first', async () => {
    redis = createRedis(await listen(), silentLogger, 'test');
    const answers = await Promise.allSettled([redis.get('a'), redis.get('b'), redis.multi().set('c', '1').exec()]);
    expect(answers.map((answer) => answer.status)).toEqual(['rejected', 'rejected', 'rejected']);
  });

  it('says once that the server is not reachable, however often it tries', async () => {
    const warnings: unknown[] = [];
    const url = await listen();
    server?.close();
    await once(server as Server, 'close');
    redis = createRedis(url, { ...silentLogger, warn: (fields: unknown) => void warnings.push(fields) } as never, 'test');
    let attempts = 0;
    const twice = new Promise<void>((resolve) => redis?.on('reconnecting', () => ++attempts === 3 && resolve()));
    await redis.connect().catch(() => undefined);
    await twice;
    expect(warnings).toHaveLength(1);
  });

  it('names its connection, so that operators find it in CLIENT LIST', async () => {
    const said: string[] = [];
    const url = await listen((text) => {
      said.push(text);
      return text.split('\r\n').filter((part) => part.startsWith('*')).map(() => '+OK\r\n').join('');
    });
    redis = createRedis(url, silentLogger, 'test');
    await redis.ping().catch(() => undefined);
    expect(said.join('')).toContain('mlx-serving-test');
  });
});
