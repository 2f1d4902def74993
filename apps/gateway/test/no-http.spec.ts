import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness } from './gateway-harness.ts';
import { openRaw } from './raw-http.ts';

const gateway = new Harness({ worker: new FakeWorker() });
beforeAll(() => gateway.start());
afterAll(() => gateway.stop());

async function answerTo(text: string): Promise<string> {
  const socket = connect({ port: gateway.app.ports.http, host: '127.0.0.1' });
  let answer = '';
  socket.on('data', (part: Buffer) => (answer += part.toString()));
  socket.on('error', () => undefined);
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

describe('what is no HTTP', () => {
  it.each([
    ['400', 'GARBAGE\r\n\r\n'],
    ['431', `GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`],
  ])('is answered with %s', async (status, text) => {
    expect((await answerTo(text)).split('\r\n')[0]).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  it('ends the connection and is not written into an answer that runs on it', async () => {
    const client = await openRaw(gateway.app.ports.http, { model: 'fake', stream: true, messages: [{ role: 'user', content: 'Hello' }] });
    let received = '';
    client.on('data', (part: Buffer) => (received += part.toString()));
    const generation = (await gateway.worker.generation(0)).accept();
    generation.tokens('one');
    await until(() => received.includes('one'));
    client.write('GARBAGE\r\n\r\n');
    await once(client, 'close');
    await until(() => generation.cancelled);
    expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });
});
