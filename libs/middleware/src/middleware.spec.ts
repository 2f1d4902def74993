import { afterEach, describe, expect, it } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { compileFlags } from '@mlx-serving/evaluation';
import { flagConfig } from '@mlx-serving/policy';
import express from 'express';
import { fastify } from 'fastify';
import { expressFlags, fastifyFlags, type FlaggedRequest } from './index.ts';

const config = flagConfig.parse({ enabled: true, whitelist: ['ada'], rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }], variants: [{ name: 'only', weight: 100 }] });
const flags = compileFlags({ flags: [{ name: 'new_design', config, killed: false }], emergency: { killSwitch: false, rollbackToBaseline: false } });
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const shown = (request: object) => {
  const { featureFlags } = request as Required<FlaggedRequest>;
  return { on: featureFlags.isEnabled('new_design'), variant: featureFlags.variant('new_design') ?? null, unknown: featureFlags.isEnabled('nobody') };
};
const users: Record<string, object> = { ada: { id: 'ada' }, bob: { id: 'bob', plan: 'premium' }, eve: { id: 'eve', plan: 'free' } };
const expected = { ada: true, bob: true, eve: false, nobody: false };

async function answers(port: number): Promise<Record<string, boolean>> {
  const entries = Object.keys(expected).map(async (user) => {
    const answer = (await (await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-user': user } })).json()) as { on: boolean; variant: string | null; unknown: boolean };
    expect(answer).toEqual({ on: answer.on, variant: answer.on ? 'only' : null, unknown: false });
    return [user, answer.on] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

describe('req.featureFlags (F21)', () => {
  it('asks for the user of a request of Express, also one who signs in after the middleware', async () => {
    const app = express();
    app.use(expressFlags(flags));
    app.use((request, _response, next) => {
      Object.assign(request, { user: users[String(request.headers['x-user'])] });
      next();
    });
    app.get('/', (request, response) => void response.json(shown(request)));
    const server: Server = createServer(app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => server.close());
    expect(await answers((server.address() as AddressInfo).port)).toEqual(expected);
  });

  it('asks for the user of a request of Fastify, by a context of its own', async () => {
    const app = fastify();
    await app.register(
      fastifyFlags(flags, {
        context: (request: { headers: Record<string, string> }) => {
          const { id, ...attributes } = (users[request.headers['x-user'] ?? ''] ?? {}) as { id?: string };
          return { key: id, attributes };
        },
      }) as never,
    );
    app.get('/', (request) => shown(request));
    await app.listen({ port: 0, host: '127.0.0.1' });
    closing.push(() => app.close());
    expect(await answers((app.server.address() as AddressInfo).port)).toEqual(expected);
  });
});
