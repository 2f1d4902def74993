import { create } from '@bufbuild/protobuf';
import type { Metadata } from '@grpc/grpc-js';
import { type Handlers, type Inference, TtftStatsResponseSchema } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import type { AcceleratorService } from './accelerator-service.ts';

const DEFAULT_INTERVAL_MS = 1_000;
const LEAST_INTERVAL_MS = 100;
/** Beyond what a timer can hold it would go off at once. */
const LONGEST_INTERVAL_MS = 24 * 3_600_000;

/**
 * The accelerator's part of the gRPC door.
 * @param identify throws for a call without the key that it needs
 */
export function createAcceleratorHandlers(service: AcceleratorService, identify: (call: { readonly metadata: Metadata }) => unknown): Pick<Handlers<typeof Inference>, 'ttftStats' | 'addToAllowlist'> {
  return {
    ttftStats: async (call) => {
      identify(call);
      const interval = Math.min(LONGEST_INTERVAL_MS, Math.max(LEAST_INTERVAL_MS, call.request.intervalMs || DEFAULT_INTERVAL_MS));
      let timer: NodeJS.Timeout | undefined;
      const write = async (): Promise<void> => {
        // Whoever does not read what was sent gets nothing more until he does.
        const stats = call.writableNeedDrain ? undefined : await service.stats();
        if (call.cancelled) return;
        if (stats) call.write(create(TtftStatsResponseSchema, stats));
        timer = setTimeout(() => void write(), interval);
      };
      call.once('cancelled', () => clearTimeout(timer));
      await write();
    },
    addToAllowlist: async (request, call) => {
      identify(call);
      if (request.input.case === undefined) throw errors.INVALID_REQUEST({ message: 'Send a prompt or a conversation.' }, { param: 'input' });
      return { workers: await service.allow(request) };
    },
  };
}
