export { AlertStandIn, type ReceivedAlert } from './alert-stand-in.ts';
export { findRedisServer, type RedisProcess, startRedis } from './redis-process.ts';
export { FakeCanary, FakeFlags, FakeQos } from './fake-controllers.ts';
export { FakeGateway } from './fake-gateway.ts';
export { FakeGeneration, FakeWorker } from './fake-worker.ts';
export { type SuiteHooks, SuiteRedis } from './suite-redis.ts';
export { until } from './until.ts';
export { SHIPPED_TRIGGERS, simulateRollout, type SimulatedRollout, type SimulatedTraffic, type SimulationOptions } from './rollout-simulation.ts';
