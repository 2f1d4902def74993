export { expressFlags, type FlaggedRequest } from './express-flags.ts';
export { fastifyFlags } from './fastify-flags.ts';
export type { FlagSource, RequestFlags, RequestFlagsOptions } from './request-flags.ts';
