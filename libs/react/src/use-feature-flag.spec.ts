import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createElement } from 'react';
import { act, create, type ReactTestRenderer } from 'react-test-renderer';
import { type FeatureFlagOptions, useFeatureFlag } from './index.ts';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
let server: Server;
let baseUrl: string;
let asked: string[];
let answered: Promise<unknown>[];
const pages: ReactTestRenderer[] = [];

/** Answers as the gateway does: on for flags whose names begin with `on`. */
beforeEach(async () => {
  asked = [];
  answered = [];
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answered.push(new Promise((resolve) => response.once('close', resolve)));
    const failing = request.url?.includes('broken') ?? false;
    response.writeHead(failing ? 500 : 200, { 'content-type': 'application/json' }).end(failing ? 'no' : JSON.stringify({ enabled: request.url?.startsWith('/api/flags/on') }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  await act(async () => pages.splice(0).forEach((page) => page.unmount()));
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const Page = ({ flag, ...options }: { flag: string } & FeatureFlagOptions): string => (useFeatureFlag(flag, { baseUrl, ...options }) ? 'new' : 'old');

async function show(page: ReactTestRenderer | undefined, flag: string, options: FeatureFlagOptions = {}): Promise<ReactTestRenderer> {
  let shown = page;
  await act(async () => {
    const element = createElement(Page, { flag, ...options });
    if (shown) shown.update(element);
    else pages.push((shown = create(element)));
  });
  return shown!;
}

/** Waits until the page shows this. */
async function becomes(page: ReactTestRenderer, text: string): Promise<void> {
  for (let turn = 0; turn < 500 && page.toJSON() !== (text as never); turn++) await act(async () => void (await new Promise((resolve) => setImmediate(resolve))));
  expect(page.toJSON()).toBe(text);
}

describe('useFeatureFlag (F20)', () => {
  it('is off until the gateway has answered, then as it answers, and asks once', async () => {
    const page = await show(undefined, 'on_design', { user: 'a b' });
    await becomes(page, 'new');
    await show(page, 'on_design', { user: 'a b' });
    expect(asked).toEqual(['/api/flags/on_design?user=a%20b']);
  });

  it('asks anew for another flag, and does not show the answer of the former one meanwhile', async () => {
    const page = await show(undefined, 'on_design');
    await becomes(page, 'new');
    await act(async () => page.update(createElement(Page, { flag: 'off_design' })));
    expect(page.toJSON()).toBe('old');
    for (let turn = 0; turn < 500 && asked.length < 2; turn++) await act(async () => void (await new Promise((resolve) => setImmediate(resolve))));
    expect(asked).toEqual(['/api/flags/on_design', '/api/flags/off_design']);
  });

  it('stays off when the gateway fails', async () => {
    const page = await show(undefined, 'on_broken');
    for (let turn = 0; turn < 500 && answered.length === 0; turn++) await act(async () => void (await new Promise((resolve) => setImmediate(resolve))));
    await act(async () => void (await Promise.all(answered)));
    expect([asked, page.toJSON()]).toEqual([['/api/flags/on_broken'], 'old']);
  });
});
