import { timingSafeEqual } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { type Handlers, type JoinRequest, type JoinResponse, JoinResponseSchema, type Membership } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import { type Logger, toGrpcError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';

/** How long a worker counts as joined without a sign of life. */
export const LEASE_MS = 6_000;
const ADDRESS = /^[\w.-]{1,253}:\d{1,5}$|^\[[0-9a-fA-F:]{2,45}\]:\d{1,5}$/;
const LOOPBACK = /^(127\.|\[?::1\]?|\[?::ffff:127\.)/;

export interface MembershipOptions {
  readonly pools: Record<Variant, WorkerPool>;
  /** What a worker must show. Empty: only workers of this machine may join. */
  readonly joinToken: string;
  /** Told when a lease begins or ends here. */
  readonly onLease?: (change: 'joined' | 'left', lease: { readonly variant: Variant; readonly address: string }) => void;
  readonly logger: Logger;
}

/** Workers join by a lease that they renew: a stream each, which ends with the worker. */
export function createMembershipHandlers(options: MembershipOptions): Handlers<typeof Membership> {
  return {
    join: (call) => {
      if (!isAllowed(call, options.joinToken)) return void call.emit('error', toGrpcError(errors.JOIN_DENIED()));
      const lease = new JoinLease(call, options);
      call.on('data', (request: JoinRequest) => lease.renew(request));
      call.on('end', () => lease.end('it left'));
      call.on('cancelled', () => lease.end('its connection is gone'));
      call.on('error', () => lease.end('its connection failed'));
    },
  };
}

class JoinLease {
  readonly #options: MembershipOptions;
  readonly #call: ServerDuplexStream<JoinRequest, JoinResponse>;
  #expiry: NodeJS.Timeout | undefined;
  #joined: { pool: WorkerPool; address: string; variant: Variant } | undefined;

  constructor(call: ServerDuplexStream<JoinRequest, JoinResponse>, options: MembershipOptions) {
    this.#options = options;
    this.#call = call;
  }

  renew({ address, variant: asked }: JoinRequest): void {
    const variant = (asked || 'baseline') as Variant;
    const pool = Object.hasOwn(this.#options.pools, variant) ? this.#options.pools[variant] : undefined;
    if (!pool || !ADDRESS.test(address)) return void this.#call.emit('error', toGrpcError(errors.JOIN_INVALID()));
    if (this.#joined && (this.#joined.address !== address || this.#joined.pool !== pool)) return void this.#call.emit('error', toGrpcError(errors.JOIN_INVALID()));
    if (!this.#joined) {
      if (!pool.join(address)) return void this.#call.emit('error', toGrpcError(errors.JOIN_TOO_MANY()));
      this.#joined = { pool, address, variant };
      this.#options.onLease?.('joined', { variant, address });
      this.#options.logger.info({ worker: address, variant }, 'worker joined');
    }
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.end('its lease ended'), LEASE_MS);
    this.#call.write(create(JoinResponseSchema, { ttlMs: LEASE_MS }));
  }

  /** What runs at the worker goes on; it gets nothing new. */
  end(why: string): void {
    clearTimeout(this.#expiry);
    const joined = this.#joined;
    this.#joined = undefined;
    if (!joined) return;
    joined.pool.leave(joined.address);
    this.#options.onLease?.('left', joined);
    this.#options.logger.warn({ worker: joined.address, why }, 'worker left');
    if (this.#call.writable) this.#call.end();
  }
}

function isAllowed(call: ServerDuplexStream<JoinRequest, JoinResponse>, joinToken: string): boolean {
  if (joinToken === '') return LOOPBACK.test(call.getPeer());
  const shown = Buffer.from(call.metadata.get('join-token')[0]?.toString() ?? '');
  const wanted = Buffer.from(joinToken);
  return shown.length === wanted.length && timingSafeEqual(shown, wanted);
}
