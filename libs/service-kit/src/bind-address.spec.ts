import { describe, expect, it } from '@jest/globals';
import { assertBindable } from './bind-address.ts';

describe('assertBindable', () => {
  it.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1'])('lets a service bind to %s', (host) => {
    expect(() => assertBindable(host, false)).not.toThrow();
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org', ''])('refuses %p unless the operator vouches for the network', (host) => {
    expect(() => assertBindable(host, false)).toThrow('MLX_SERVING_TRUSTED_NETWORK=true');
    expect(() => assertBindable(host, true)).not.toThrow();
  });
});
