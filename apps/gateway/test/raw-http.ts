import { connect, type Socket } from 'node:net';
import { once } from 'node:events';

/** A client that holds its socket in its hands: it can stop reading and it can go away at any moment. */
export async function openRaw(port: number, body: object): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const text = JSON.stringify(body);
  socket.on('error', () => undefined);
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  return socket;
}
