import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connect } from 'node:net';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createMetrics } from './metrics.ts';
import { closeHttpServer, listen } from './http-server.ts';
import { OperationsServer } from './operations-server.ts';

const metrics = createMetrics({ up: { type: 'gauge', name: 'x_up', help: 'Up.' } });
let problem: string | null;
let server: OperationsServer;
let port: number;

beforeEach(async () => {
  problem = null;
  server = new OperationsServer({
    host: '127.0.0.1',
    port: 0,
    registry: metrics.registry,
    health: { checks: { redis: () => problem, link: () => null }, details: () => ({ snapshotAgeMs: 5 }) },
  });
  port = await server.start();
});

afterEach(() => server.stop());

const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);

describe('OperationsServer', () => {
  it('shows the metrics in the format of Prometheus', async () => {
    const answer = await get('/metrics');
    expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(await answer.text()).toContain('# HELP x_up Up.');
  });

  it('is live whatever its checks say', async () => {
    problem = 'down';
    const answer = await get('/health/live');
    expect([answer.status, await answer.json()]).toEqual([200, { status: 'live' }]);
  });

  it('is ready while every check holds, and else says what is missing', async () => {
    const ready = await get('/health/ready?verbose');
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ready', checks: { redis: 'ok', link: 'ok' }, snapshotAgeMs: 5 }]);
    problem = 'not reachable';
    const unready = await get('/health/ready');
    expect([unready.status, await unready.json()]).toMatchObject([503, { status: 'not ready', checks: { redis: 'not reachable', link: 'ok' } }]);
  });

  it('answers any other path with 404 and what there is', async () => {
    const answer = await get('/secret');
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('/metrics')]);
  });

  it('rejects with one clear line when its port is taken', async () => {
    const second = new OperationsServer({ host: '127.0.0.1', port, registry: metrics.registry, health: { checks: {} } });
    await expect(second.start()).rejects.toThrow(`Port ${port} on 127.0.0.1 is in use.`);
  });
});

describe('closeHttpServer', () => {
  it('ends a connection that never finishes its request', async () => {
    const stuck = createServer();
    const socket = connect(await listen(stuck, '127.0.0.1', 0), '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    const seen = once(stuck, 'connection').catch(() => undefined);
    socket.write('GET / HTTP/1.1\r\nHost:');
    await Promise.race([seen, new Promise(setImmediate)]);
    const closed = once(socket, 'close');
    await closeHttpServer(stuck, 10);
    await closed;
    expect(stuck.listening).toBe(false);
  });
});
