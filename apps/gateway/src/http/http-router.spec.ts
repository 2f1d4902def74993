import { describe, expect, it } from '@jest/globals';
import { readRequestId } from './http-context.ts';
import { allowedMethods, findRoute, type HttpRoute } from './http-router.ts';

const route = (method: HttpRoute['method'], path: string): HttpRoute => ({ method, path, label: path, handle: () => undefined });
const routes = [route('POST', '/v1/chat'), route('GET', '/v1/models'), route('GET', '/v1/models/')];

describe('findRoute', () => {
  it('finds a whole path, and the name behind the beginning of one', () => {
    expect(findRoute(routes, 'POST', '/v1/chat')).toMatchObject({ route: routes[0], name: '' });
    expect(findRoute(routes, 'GET', '/v1/models/org%2Fname')).toMatchObject({ route: routes[2], name: 'org/name' });
    expect(findRoute(routes, 'GET', '/v1/models/org/name').name).toBe('org/name');
  });

  it.each(['/', '/v1/models/', '/v1/chat/', '/v1/models/%zz'])('does not know %s', (path) => {
    expect(() => findRoute(routes, 'GET', path)).toThrow(expect.objectContaining({ reason: 'UNKNOWN_URL' }));
  });

  it('says which methods a path takes', () => {
    expect(() => findRoute(routes, 'DELETE', '/v1/chat')).toThrow(expect.objectContaining({ reason: 'METHOD_NOT_ALLOWED' }));
    expect(allowedMethods(routes, '/v1/models')).toBe('GET');
  });
});

describe('readRequestId', () => {
  it("takes the caller's id, and makes one when it is missing or could break a header or a log line", () => {
    expect(readRequestId('abc-1')).toBe('abc-1');
    for (const bad of [undefined, '', 'a b', 'a\nb', 'x'.repeat(129), ['a', 'b']]) expect(readRequestId(bad)).toMatch(/^[0-9a-f-]{36}$/);
  });
});
