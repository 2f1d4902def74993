import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { missingOf, waitForCircle } from './circle.ts';

describe('the wait for the whole circle', () => {
  it('names the links that are down and the workers that do not serve yet', () => {
    const workers = { baseline: { serving: 1, configured: 1 }, canary: { serving: 0, configured: 1 } };
    expect(missingOf({ links: { flags: 'up', qos: 'down' }, workers })).toEqual(['the link to qos', 'a canary worker']);
  });

  it('ends when the gateway has met everybody', async () => {
    let asked = 0;
    const server = createServer((_, response) => {
      const state = asked++ < 2 ? 'down' : 'up';
      response.end(JSON.stringify({ links: { flags: state }, workers: {} }));
    });
    const port = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
    expect(await waitForCircle(port, 30_000)).toEqual([]);
    expect(asked).toBe(3);
    await new Promise((resolve) => server.close(resolve));
  });

  it('says what is missing when the time is over', async () => {
    const server = createServer((_, response) => response.end(JSON.stringify({ links: { canary: 'down' } })));
    const port = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
    expect(await waitForCircle(port, 0)).toEqual(['the link to canary']);
    await new Promise((resolve) => server.close(resolve));
  });
});
