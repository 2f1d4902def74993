import { StartupError } from './lifecycle-errors.ts';

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** Whether only this machine can reach what binds to a host. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/**
 * Refuses to open a control service to a network by accident.
 * @throws StartupError unless the host is loopback or the operator vouches for the network
 */
export function assertBindable(host: string, trustedNetwork: boolean): void {
  if (isLoopback(host) || trustedNetwork) return;
  throw new StartupError(
    `Refusing to bind to ${host}: that is more than loopback and there is no TLS. On a network that only this system uses, set MLX_SERVING_TRUSTED_NETWORK=true.`,
  );
}
