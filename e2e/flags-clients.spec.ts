import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { FeatureFlagLoader } from '@mlx-serving/client';
import { expressFlags, fastifyFlags } from '@mlx-serving/middleware';
import { useFeatureFlag } from '@mlx-serving/react';
import express from 'express';
import { fastify } from 'fastify';
import { createElement } from 'react';
import { act, create as render, type ReactTestRenderer } from 'react-test-renderer';
import { eventually } from './eventually.ts';
import { FlagsStack, seedsRule, users } from './flags-stack.ts';
import { Stack, stopAll } from './stack.ts';

let system: FlagsStack;

beforeAll(async () => {
  system = new FlagsStack(await Stack.start());
});
afterAll(async () => {
  system.close();
  await stopAll();
});

describe('F16 FeatureFlagLoader', () => {
  it('answers from the file alone what the gateway answers', async () => {
    system.editFile((text) => `${text}\nfrom_file:\n  enabled: true\n  rollout_percentage: 37\n  hash_seed: from-file\n`);
    await eventually(async () => (await system.admin('GET', '/admin/flags/from_file')).status === 200);
    const loader = new FeatureFlagLoader(system.file);
    const decided: boolean[] = [];
    loader.on('decision', (_feature, _key, enabled) => decided.push(enabled));
    const on = await eventually(async () => {
      const found = await system.onAmong('from_file', users(50));
      return found.length > 0 && found;
    });
    expect(on).toEqual(users(50).filter((user) => loader.isEnabled('from_file', user)));
    expect([decided.length, loader.getStats().totalDecisions, loader.getKillSwitch(), loader.getConfig('from_file').rollout_percentage]).toEqual([50, 50, false, 37]);
    await loader.reload();
    expect(Object.keys(loader.getAllFlags())).toContain('from_file');
  });
});

describe('F20 the endpoints for clients', () => {
  it('say whether a flag is on, and nothing else of it', async () => {
    await system.set('secretive', { whitelist: ['ada'], rules: [{ attribute: 'plan', operator: 'equals', value: 'pro' }], variants: [{ name: 'only', weight: 100 }] });
    expect((await system.get('/api/flags/secretive?user=ada')).body).toEqual({ enabled: true });
    expect((await system.get('/api/flags/secretive', { 'x-user-id': 'ada' })).body).toEqual({ enabled: true });
    expect((await system.get('/api/flags/nobody')).body).toEqual({ enabled: false });
    expect((await system.get('/api/flags?user=ada&name=secretive&name=nobody')).body).toEqual({ flags: { secretive: true, nobody: false } });
    expect((await system.get('/api/flags')).status).toBe(400);
    expect(await system.evaluate('secretive', 'bob')).toEqual({ key: 'secretive', value: false, reason: 'DEFAULT', metadata: { flagsRevision: expect.any(String) } });
  });

  it('answer all flags by OFREP, and 304 while nothing has changed', async () => {
    const bulk = (headers: Record<string, string> = {}) => fetch(`${system.stack.urls.gateway}/ofrep/v1/evaluate/flags`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{"context":{"targetingKey":"u"}}' });
    const first = await bulk();
    expect(((await first.json()) as { flags: { key: string }[] }).flags.map(({ key }) => key)).toContain('phase4_rollout');
    const etag = first.headers.get('etag') ?? '';
    expect((await bulk({ 'if-none-match': etag })).status).toBe(304);
    await system.set('news', {});
    expect((await bulk({ 'if-none-match': etag })).status).toBe(200);
  });
});

describe('F20 the React hook', () => {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  const Page = ({ user }: { user: string }): string => (useFeatureFlag('redesign', { baseUrl: system.stack.urls.gateway, user }) ? 'new' : 'old');

  it('shows each user what the running gateway answers, and the old page once the flag is killed', async () => {
    await system.set('redesign', { rolloutPercentage: 0, whitelist: ['ada'] });
    /** What a page shows once the gateway has answered it. */
    const shown = async (user: string): Promise<unknown> => {
      const [ask, answers] = [globalThis.fetch, [] as unknown[]];
      const spy = jest.spyOn(globalThis, 'fetch').mockImplementation(async (...request) => {
        const response = await ask(...request);
        answers.push(await response.clone().json());
        return response;
      });
      let page: ReactTestRenderer | undefined;
      await act(async () => void (page = render(createElement(Page, { user }))));
      for (const { value } of spy.mock.results) await act(async () => void (await value));
      spy.mockRestore();
      await act(() => new Promise((resolve) => setImmediate(resolve)));
      const text = page?.toJSON();
      await act(async () => page?.unmount());
      return [text, ...answers];
    };
    expect(await shown('ada')).toEqual(['new', { enabled: true }]);
    expect(await shown('bob')).toEqual(['old', { enabled: false }]);
    await system.admin('POST', '/admin/flags/redesign/kill');
    expect(await shown('ada')).toEqual(['old', { enabled: false }]);
  });
});

describe('F21 the middleware', () => {
  it('gives each request of Fastify the flags of the file', async () => {
    const server = fastify();
    server.addHook('onRequest', async (request) => void Object.assign(request, { user: { id: request.headers['x-user'] } }));
    await server.register(fastifyFlags(new FeatureFlagLoader(system.file)) as never);
    server.get('/', async (request) => (request as unknown as { featureFlags: { isEnabled(name: string): boolean } }).featureFlags.isEnabled('from_file'));
    const base = await server.listen({ host: '127.0.0.1', port: 0 });
    const answers = await Promise.all(users(20).map(async (user) => (await fetch(base, { headers: { 'x-user': user } })).json()));
    await server.close();
    expect(answers).toEqual(users(20).map((user) => seedsRule(user, 'from-file', 37)));
  });

  it('gives each request of Express the flags of the file', async () => {
    const app = express();
    app.use((request, _response, next) => {
      Object.assign(request, { user: { id: request.headers['x-user'] } });
      next();
    });
    app.use(expressFlags(new FeatureFlagLoader(system.file)));
    app.get('/', (request, response) => void response.json((request as unknown as { featureFlags: { isEnabled(name: string): boolean } }).featureFlags.isEnabled('from_file')));
    const server = createServer(app).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const answers = await Promise.all(users(20).map(async (user) => (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { headers: { 'x-user': user } })).json()));
    server.close();
    expect(answers).toEqual(users(20).map((user) => seedsRule(user, 'from-file', 37)));
  });
});
