import { connectivityState } from '@grpc/grpc-js';
import type { Health } from '@mlx-serving/service-kit';
import type { Services } from './server.ts';

/** Ready while the flag service is connected: without it nothing can be killed. The other two are shown only. */
export function createHealth(services: Services): Health {
  const stateOf = (name: keyof Services): string => connectivityState[services[name].channel.getChannel().getConnectivityState(true)];
  return {
    checks: { flags: () => (stateOf('flags') === 'READY' ? null : `the flag service is not connected (${stateOf('flags')})`) },
    details: () => ({ services: { flags: stateOf('flags'), qos: stateOf('qos'), canary: stateOf('canary') } }),
  };
}
