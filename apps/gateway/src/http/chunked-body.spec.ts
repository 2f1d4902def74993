import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { ChunkedBody } from './chunked-body.ts';

const parts = ['first', 'wörld 👋\r\n', 'x'.repeat(100_000)];
let server: Server;
afterEach(() => void server.close());

async function serve(last: string): Promise<number> {
  server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    const body = new ChunkedBody(response);
    for (const part of parts) body.write(part);
    body.end(last);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Everything that comes for such a request until the server closes. */
async function raw(port: number, version: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').end(`GET / HTTP/${version}\r\nhost: x\r\nconnection: close\r\n\r\n`);
  const bytes: Buffer[] = [];
  for await (const part of socket) bytes.push(part as Buffer);
  return Buffer.concat(bytes).toString();
}

describe('a chunked body', () => {
  it.each(['the end', ''])('is read as it was written, also by the next request on the connection, ending with "%s"', async (last) => {
    const port = await serve(last);
    for (let times = 0; times < 2; times++) expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe(parts.join('') + last);
  });

  it('has one chunk for each text', async () => {
    const text = await raw(await serve('!'), '1.1');
    expect(text).toMatch(/\r\ntransfer-encoding: chunked\r\n/i);
    expect(text.replace(/^[^]*?\r\n\r\n/, '').replace(/x+/, 'x…')).toBe('5\r\nfirst\r\nd\r\nwörld 👋\r\n\r\n186a0\r\nx…\r\n1\r\n!\r\n0\r\n\r\n');
  });

  it('is the bare text for a client of HTTP/1.0', async () => {
    const text = await raw(await serve('!'), '1.0');
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe(`${parts.join('')}!`);
  });
});
