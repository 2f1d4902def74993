import { type FlagSource, requestFlags, type RequestFlagsOptions } from './request-flags.ts';
import type { FlaggedRequest } from './express-flags.ts';

/** What the plugin needs of Fastify. */
interface FastifyLike {
  decorateRequest(name: string, value: null): unknown;
  addHook(name: 'onRequest', hook: (request: object, reply: unknown, done: () => void) => void): unknown;
}

/** Plugin for Fastify: gives each request `request.featureFlags.isEnabled(name)` (SPEC F21), in every part of the application. */
export function fastifyFlags(flags: FlagSource, options: RequestFlagsOptions<never> = {}) {
  const plugin = (fastify: FastifyLike, _options: unknown, done: () => void): void => {
    fastify.decorateRequest('featureFlags', null);
    fastify.addHook('onRequest', (request, _reply, next) => {
      (request as FlaggedRequest).featureFlags = requestFlags(flags, request as never, options);
      next();
    });
    done();
  };
  // Fastify would otherwise show the decoration only to what the plugin itself registers.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true });
}
