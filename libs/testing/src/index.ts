export { findRedisServer, type RedisProcess, startRedis } from './redis-process.ts';
